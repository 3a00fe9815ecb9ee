"""Rules of chance put in plain words do the same to the same events."""

import dataclasses

import pytest
from shrink_cases import plain_case

from faults.chance import Burst, LogNormal, Uniform
from faults.kinds.registry import plain_rule
from faults.plan import parse_plan
from faults.plan_text import plan_text
from faults.rule import FaultPlan, FaultRule
from replay.shrink.in_memory import replay_in_memory
from replay.shrink.involved import who_is_involved
from replay.shrink.smaller.explicit import explicit, is_explicit, narrowed

WIDE = (("decode_dp", 2), ("decode_tp", 8), ("prefill_tp", 4), ("mla", False),
        ("total_tokens", 64_000), ("prefill_total_tokens", 64_000))  # fmt: skip
RULES = {
    "drop": FaultRule("x", "drop", probability=0.5),
    "third": FaultRule("x", "drop", occurrences=frozenset({3, 5}), occurrences_per="rank"),
    "one rank": FaultRule("x", "drop", dp_ranks=frozenset({1}), decode_tp_ranks=frozenset({0})),
    "delay": FaultRule("x", "delay", probability=0.5, delay_us=Uniform(10_000, 9_000_000)),
    "late": FaultRule("x", "delay", probability=0.4, delay_us=LogNormal(500_000, 1.0)),
    "copies": FaultRule("x", "duplicate", probability=0.5, copies=3, copy_delay_us=Uniform(1, 999)),
    "reorder": FaultRule("x", "reorder", probability=0.7, window_us=400_000),
    "partial": FaultRule("x", "partial", probability=0.6, keep=1),
    "fail": FaultRule("x", "fail", probability=0.3),
    "misroute": FaultRule("x", "misroute", probability=0.4, to="rank"),
    "window": FaultRule("x", "drop", after_us=100_000, before_us=400_000),
    "burst": FaultRule("x", "drop", burst=Burst(200_000, 300_000, 0.8)),
    "acknowledgements": FaultRule("x", "drop", direction="prefill", probability=0.5),
    "abort": FaultRule("x", "abort", when="running", probability=0.5, delay_us=Uniform(1, 90_000)),
}


def what_happened(case):
    """Every delivery, without the names of rules."""
    recording, _ = replay_in_memory(case.to_request())
    left_out = {"rule", "fault", "event"}
    rows = recording.table("events").to_pylist()
    return [{key: each[key] for key in each if key not in left_out} for each in rows]


@pytest.mark.parametrize("name", RULES)
def test_explicit_rules_do_the_same(name):
    case = plain_case(10, rules=(RULES[name],), settings=WIDE).with_options(seed=3)
    evidence = who_is_involved(case)
    assert evidence.hits, "a rule that hits nothing shows nothing"
    plain = explicit(case, evidence)
    assert all(is_explicit(rule) for rule in plain.rules)
    assert what_happened(plain) == what_happened(case)
    # No seed, no name of a rule has a say any more.
    assert what_happened(plain.with_options(seed=99)) == what_happened(case)


@pytest.mark.parametrize("name", RULES)
def test_rules_can_name_whom_they_hit_and_stay_as_they_are(name):
    case = plain_case(10, rules=(RULES[name],), settings=WIDE).with_options(seed=3)
    ids = narrowed(case, who_is_involved(case)).rules[0].request_ids
    assert ids == {hit.request_id for hit in who_is_involved(case).hits}


def test_what_a_fault_does_not_look_at_goes_so_that_a_plan_file_can_say_the_rest():
    odd = FaultRule("x", "drop", copies=2, copy_delay_us=7, delay_us=5, occurrences_per="rank")
    assert plain_rule(odd) == FaultRule("x", "drop")
    for rule in RULES.values():
        assert plain_rule(rule) == rule
        assert parse_plan(plan_text(FaultPlan((rule,))), "here").rules == (rule,)
    aimed = dataclasses.replace(RULES["abort"], direction="prefill", states=frozenset({"moving"}))
    assert plain_rule(aimed) == RULES["abort"]
