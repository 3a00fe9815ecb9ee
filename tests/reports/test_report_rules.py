"""Every rule stands on the page with what came of it; one that never fired stands first and says why."""

import dataclasses
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_helpers import HOSTILE, record, write_trace

from faults.chance import Uniform
from faults.kinds.registry import KINDS
from faults.rule import FaultPlan, FaultRule
from reports.evidence import load
from reports.page import render_report
from reports.parts.faults.part import check_faults, make_faults
from reports.parts.faults.rule_events import rule_events
from reports.parts.faults.rule_words import action, duration, ordinal, recorded_rule, selection

SOME = frozenset({2, 5, 9})


def rule(name, fault, **more):
    return FaultRule(name=name, fault=fault, **more)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    """A recording whose plan has a rule for each outcome there is, and most faults."""
    root = tmp_path_factory.mktemp("rules")
    rules = (
        rule("a drop + more", "drop", occurrences=frozenset({3})),
        rule("held for good", "delay", occurrences=frozenset({6, 7}), until="given-up"),
        rule("fails what is held", "fail", occurrences=frozenset({7})),
        rule("twice", "duplicate", direction="prefill", occurrences=SOME, copies=3),
        rule("a", "duplicate", direction="prefill", occurrences=SOME),
        rule("a + a", "duplicate", direction="prefill", occurrences=SOME),
        rule("late + ack", "delay", direction="prefill", occurrences=frozenset({4}), delay_us=10**6),
        rule("leaves", "abort", when="waiting", occurrences=frozenset({11})),
        rule("leaves too late", "abort", when="bootstrap", delay_us=10**9, occurrences=SOME),
        rule("nobody", "drop", request_ids=frozenset({"nobody", HOSTILE})),
        rule("no such rank", "drop", pools=frozenset({"decode9/dp0"}), dp_ranks=frozenset({99})),
        rule("too far", "drop", occurrences=frozenset({4_000})),
        rule("unlikely", "drop", probability=1e-9),
        rule("after the end", "drop", after_us=10**12),
        rule(HOSTILE, "timeout", when="deferred"),
        rule("q" * 10_000, "reorder", window_us=1),
    )  # fmt: skip
    return record(
        root / "all", write_trace(root / "trace.parquet"), "sglang-0.4.6.post4",
        FaultPlan(rules), {"max_running_requests": "2"},
    )  # fmt: skip


def lines_of(directory):
    return {line.whole_name or line.name: line for line in make_faults(load(directory)).rules}


def test_what_came_of_each_rule_is_what_the_journal_says(every_kind):
    journal = load(every_kind).run["faults"]
    lines = lines_of(every_kind)
    for name, line in lines.items():
        (row,) = [each for rule, each in journal["rules"].items() if " ".join(rule.split()) == name or rule == name]  # fmt: skip
        assert [line.met, line.planned, line.landed, line.observed] == [
            f"{row[key]:,}" for key in ("met", "planned", "landed", "observed")
        ]
        assert (line.outcome == "never fired") is (row["planned"] == 0)
        assert (line.outcome == "changed something") is (row["observed"] > 0)
        assert bool(line.why) is (row["observed"] == 0)
    assert {line.outcome for line in lines.values()} >= {
        "never fired", "never landed", "changed something"
    }  # fmt: skip


def test_those_that_never_fired_come_first_and_say_why(every_kind):
    part = make_faults(load(every_kind))
    outcomes = [line.outcome for line in part.rules]
    never = outcomes.count("never fired")
    assert outcomes[:never] == ["never fired"] * never
    assert part.warning.startswith(f"{never} rules never fired")
    lines = lines_of(every_kind)
    assert "the trace has no request" in lines["nobody"].why
    assert (
        "there is no rank decode9/dp0; there is no decode dp rank 99" in lines["no such rank"].why
    )
    assert "the 4,000th, the first it waits for, never came" in lines["too far"].why
    assert "chance chose none of them" in lines["unlikely"].why
    assert "faults end with the inject phase" in lines["after the end"].why
    assert "no request came into state deferred" in lines[HOSTILE].why
    assert "missed all 3 times" in lines["leaves too late"].why


def test_the_numbers_reconcile_even_where_an_event_bears_several_rules(every_kind):
    evidence = load(every_kind)
    assert all(check.passed for check in check_faults(evidence, make_faults(evidence)))
    assert "checks failed" not in render_report([every_kind], charts=False)


@pytest.mark.parametrize("key", ["landed", "planned"])
def test_an_edited_journal_is_found_out(every_kind, key):
    evidence = load(every_kind)
    faults = evidence.run["faults"]
    changed = faults["rules"]["twice"] | {key: faults["rules"]["twice"][key] + 1}
    run = evidence.run | {"faults": faults | {"rules": faults["rules"] | {"twice": changed}}}
    edited = dataclasses.replace(evidence, run=run)
    assert [check.passed for check in check_faults(edited, make_faults(edited))].count(False) == 1


def test_examples_lead_to_the_lanes_of_their_request(recordings):
    page = render_report([recordings["leak"]], charts=False)
    links = re.findall(r'<a href="#(r1-lanes-\d+)">', page)
    assert links
    for link in links:
        assert f'id="{link}"' in page
    line = lines_of(recordings["leak"])["lost"]
    assert line.examples_shown == "all 2"
    assert all("was dropped at" in example.what for example in line.examples)


def test_strange_names_are_text_and_do_not_fill_the_page(every_kind):
    page = render_report([every_kind], charts=False)
    assert "<script>alert" not in page
    assert "<img" not in page
    table = page[page.index('id="r1-faults"') :].split("</section>")[0]
    # Once, behind a fold, and in the words of nothing else.
    assert table.count("q" * 10_000) == 1
    assert table.count("Full name") == 1


def test_a_recording_without_rules_has_no_such_part(recordings):
    assert make_faults(load(recordings["clean"])) is None
    assert "Fault rules" not in render_report([recordings["clean"]], charts=False)


def test_a_rule_that_the_journal_lacks_does_not_break_the_page(recordings, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recordings["leak"], copy)
    run = (copy / "run.json").read_text().replace('"lost": {', '"list": {')
    (copy / "run.json").write_text(run)
    assert lines_of(copy)["lost"].outcome == "never fired"


@given(
    st.lists(st.text("ab+ ", min_size=1, max_size=5), min_size=1, max_size=5, unique=True),
    st.data(),
)
def test_every_touched_event_is_some_rules(names, data):
    """However rules are called, each of an event's faults is counted for exactly one rule."""
    groups = data.draw(st.lists(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True), max_size=8))  # fmt: skip
    events = pa.table(
        {
            "event": pa.array(range(len(groups)), pa.int64()),
            "copy": pa.array([0] * len(groups), pa.int32()),
            "rule": pa.array([" + ".join(group) for group in groups], pa.string()),
            "fault": pa.array([" + ".join(["drop"] * len(group)) for group in groups], pa.string()),
            "delivered_us": pa.array([5] * len(groups), pa.int64()),
            "outcome": pa.array(["accepted"] * len(groups), pa.string()),
            "observed": pa.array([True] * len(groups), pa.bool_()),
        }
    )
    found = rule_events(events, names)
    assert set(found.landed) <= set(names)
    assert sum(found.landed.values()) == sum(map(len, groups))
    for name in names:
        alone = sum(group == [name] for group in groups)
        assert found.landed.get(name, 0) >= alone


@pytest.mark.parametrize("fault", KINDS)
def test_every_fault_has_words_of_its_own(fault):
    words = action(FaultRule("any", fault, when="landed"))
    assert words != fault
    assert "None" not in words


def test_a_fault_or_a_word_of_another_version_is_only_named():
    for keys in ({"fault": "melt"}, {"fault": "misroute", "to": "the moon"}):
        rule = recorded_rule({"name": "new", **keys})
        assert action(rule) == keys["fault"]
        assert selection(rule) == "completions, told to decode"


def test_a_rule_is_said_in_words():
    said = recorded_rule({
        "name": "twice",
        "fault": "duplicate", "direction": "prefill", "request_ids": ["a", "b", "c", "d"],
        "probability": 0.25, "occurrences": [2, 13], "occurrences_per": "session",
        "after_us": 5_000, "before_us": 2_000_000, "copies": 2, "copy_delay_us": [1_000, 9_000],
        "burst": {"length_us": 1_000_000, "every_us": 60_000_000, "hits": "rank"},
        "a key of a later version": 5,
    })  # fmt: skip
    assert selection(said) == (
        "acknowledgements, told to prefill, of request a, b, c and 1 more, between 5 ms and 2.000 s, "
        "in windows of 1.000 s in every 60.000 s, each rank on its own, only the 2nd, 13th of each "
        "session, each with probability 0.25"
    )
    assert action(said) == "delivered, and then again 2 times, 1 ms, 9 ms apart"
    assert duration(Uniform(1_000, 2_000)) == "1 ms to 2 ms"
    assert [ordinal(each) for each in (1, 2, 3, 4, 11, 12, 21, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "111th"
    ]  # fmt: skip


def test_ids_that_are_hostile_stay_text_in_lanes(recordings, tmp_path):
    """The guilty request's own name, and the rule's, in every table that holds them."""
    copy = tmp_path / "copy"
    shutil.copytree(recordings["leak"], copy)
    guilty = load(copy).worst.owners[0].request_id
    for name in ("owners", "requests", "events"):
        path = copy / f"{name}.parquet"
        before = pq.read_table(path)
        rows = before.to_pylist()
        for row in rows:
            row["request_id"] = HOSTILE + "z" * 10_000 if row["request_id"] == guilty else row["request_id"]  # fmt: skip
        pq.write_table(before.schema.empty_table().from_pylist(rows, before.schema), path)
    page = render_report([copy], charts=False)
    assert 'class="lane-grid"' in page
    assert "<script>alert" not in page
    lanes = page[page.index('class="lane-grid"') :].split('class="lane-legend"')[0]
    # The whole id once, behind the fold of its numbers.
    assert lanes.count("z" * 10_000) == 1
