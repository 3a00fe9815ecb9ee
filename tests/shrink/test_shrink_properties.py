"""What holds of every shrunk case, whatever it was before."""

import dataclasses
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shrink_cases import find, goal_of, plain_case, schedule_case, shrunk

from faults.rule import FaultRule
from replay.shrink.in_memory import replay_in_memory
from replay.shrink.outcome import outcome_of
from replay.shrink.place import Journal
from replay.shrink.search import Goal

#: Cases of each property; more are tried by hand.
CASES = int(os.environ.get("KVREPLAY_SHRINKS", "4"))


def without_one(case):
    """Every case that has one request or one rule less."""
    for gone in case.requests:
        yield case.with_requests(row for row in case.requests if row is not gone)
    for gone in case.rules:
        yield case.with_rules(rule for rule in case.rules if rule is not gone)


@pytest.mark.slow
@settings(max_examples=CASES, derandomize=True)
@given(st.integers(0, 300), st.sampled_from(["sglang-0.4.6.post4", "vllm-0.33", "sglang-0.5.23"]))
def test_a_shrunk_case_is_minimal_and_stays_as_it_is(seed, profile):
    case = schedule_case(seed, profile)
    goal = goal_of(case)
    if goal is None:
        return
    first = shrunk(case, goal)
    assert first.minimal
    assert goal.holds(first.case)
    assert len(first.case.requests) <= len(case.requests)
    assert not any(goal.holds(less) for less in without_one(first.case))
    again = shrunk(first.case, goal)
    assert again.case.key() == first.case.key()


@pytest.mark.slow
@pytest.mark.parametrize("defect", ["early-notice-is-lost", "second-acknowledgement-frees-again"])
def test_the_bug_stays_to_blame(defect):
    found = find(defect)
    small = shrunk(found.case, found.goal).case
    assert small.defects == (defect,)
    assert goal_of(small).outcome == found.goal.outcome
    other = goal_of(small.without_defects([defect]))
    assert other is None or other.outcome != found.goal.outcome


@pytest.mark.slow
@settings(max_examples=CASES, derandomize=True)
@given(st.integers(0, 10_000))
def test_cut_off_anywhere_and_gone_on_it_comes_to_the_same(tmp_path_factory, seed):
    random_ = random.Random(seed)
    case = plain_case(5, rules=(FaultRule("lose", "drop", probability=0.6),))
    case = case.with_options(seed=seed % 7)
    goal = goal_of(case)
    if goal is None:
        return
    path = tmp_path_factory.mktemp("shrink") / "journal.jsonl"
    whole = shrunk(case, goal)
    journal = Journal(path, {})
    # Killed at some replay, in the middle of a line.
    cut = shrunk(case, goal, journal, replays=random_.randint(1, whole.tried))
    journal.close()
    assert cut.tried <= whole.tried
    with path.open("ab") as file:
        file.write(b'{"case": "12')
    journal = Journal(path, {})
    assert len(journal) == cut.tried
    rest = shrunk(case, goal, journal)
    assert (rest.case.key(), rest.tried) == (whole.case.key(), whole.tried)


@pytest.mark.slow
def test_the_budget_of_replays_is_kept_and_the_best_so_far_holds():
    case = plain_case(12, rules=(FaultRule("lose", "drop"),))
    goal = goal_of(case)
    sizes = []
    for replays in (1, 5, 10, 100):
        found = shrunk(case, goal, replays=replays)
        assert found.tried <= replays
        assert goal.holds(found.case)
        sizes.append(len(found.case.requests))
        assert found.minimal is (found.tried < replays)
    assert sorted(sizes, reverse=True) == sizes
    assert sizes[-1] == 1


def test_the_budget_of_seconds_is_kept():
    case = plain_case(12, rules=(FaultRule("lose", "drop"),))
    found = shrunk(case, goal_of(case), seconds=0.0)
    assert (found.tried, found.minimal) == (0, False)


def test_what_is_known_takes_no_seconds_so_a_result_never_gets_worse_again(tmp_path):
    case = plain_case(12, rules=(FaultRule("lose", "drop"),))
    goal, path = goal_of(case), tmp_path / "journal.jsonl"
    journal = Journal(path, {})
    whole = shrunk(case, goal, journal)
    journal.close()
    again = shrunk(case, goal, Journal(path, {}), seconds=0.0)
    assert (again.case.key(), again.minimal) == (whole.case.key(), True)


@pytest.mark.slow
def test_exact_numbers_stay_and_others_need_not():
    case = plain_case(8, rules=(FaultRule("lose", "drop", request_ids=frozenset({"a2", "a5"})),))
    free = goal_of(case)
    recording, verdict = replay_in_memory(case.to_request())
    exact = Goal(outcome_of(verdict.summary, recording.run, exact=True))
    assert exact.outcome.numbers[-1] == verdict.summary["mismatch"]["gap"] > 0
    kept = shrunk(case, exact).case
    _, after = replay_in_memory(kept.to_request())
    names = ("available", "evictable", "protected", "total", "gap")
    for name in names:
        assert after.summary["mismatch"][name] == verdict.summary["mismatch"][name]
    _, small = replay_in_memory(shrunk(case, free).case.to_request())
    assert small.summary["mismatch"]["gap"] < verdict.summary["mismatch"]["gap"]


def test_growth_is_kept_and_needs_its_cycles():
    case = plain_case(3, rules=(FaultRule("lose", "drop"),)).with_options(repeats=5)
    goal = goal_of(case)
    assert goal.outcome.growth == "one-off"
    assert shrunk(case, goal).case.options.repeats == 3
    short = dataclasses.replace(goal.outcome, growth=None)
    assert goal_of(case.with_options(repeats=1)).outcome == short
