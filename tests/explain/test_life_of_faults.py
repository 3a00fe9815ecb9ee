"""One small replay a fault: the life of the request that it hit names it, at the right time."""

import pyarrow.parquet as pq
import pytest
from life_helpers import blamed, every, record, told, watched

from faults.rule import FaultRule
from traces.schema import TraceRequest

POST4, NEW, VLLM, HARDENED = "sglang-0.4.6.post4", "sglang-0.5.23", "vllm-0.33", "hardened"
Q1 = frozenset({"q1"})
EVERY_SECOND = every(1_000_000, 3)


def rows_of(recording, table, request_id):
    rows = pq.read_table(recording.directory / f"{table}.parquet").to_pylist()
    return [row for row in rows if row["request_id"] == request_id]


def touched_row(recording, rule):
    rows = pq.read_table(recording.directory / "events.parquet").to_pylist()
    (row,) = [row for row in rows if row["rule"] == rule and row["observed"]]
    return row


CASES = {
    # (profile, rule, profile fields, which time of the event's row the blame is at, words)
    "drop": (POST4, {}, {}, "sent_us", "was dropped at"),
    "drop-acknowledgement": (POST4, {"direction": "prefill"}, {}, "sent_us", "was dropped at"),
    "delay": (POST4, {"delay_us": 700_000}, {}, "sent_us", "came 0.700 s late, at"),
    "duplicate": (
        VLLM,
        {"direction": "prefill", "copy_delay_us": 5_000},
        {},
        "delivered_us",
        "came again at",
    ),
    "misroute": (POST4, {"to": "kind"}, {}, "delivered_us", "went astray at"),
    "early": (VLLM, {}, {"transfer_us": 100_000}, "delivered_us", "before its bytes"),
    "stale": (
        VLLM,
        {"direction": "prefill", "until": "released"},
        {},
        "delivered_us",
        "came again at",
    ),
    "fail": (POST4, {}, {}, "delivered_us", "reported at"),
    "abort": (HARDENED, {"when": "landed"}, {}, "delivered_us", "the client of"),
    "timeout": (HARDENED, {"when": "landed"}, {}, "delivered_us", "the timeout of"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_life_of_the_touched_request_names_the_fault(case, tmp_path):
    profile, fields, setup, column, words = CASES[case]
    fault = case.partition("-")[0]
    rule = FaultRule("the-rule", fault, request_ids=Q1, **fields)
    recording = record(tmp_path, profile, EVERY_SECOND, rule, **setup)
    row = touched_row(recording, "the-rule")
    for life in (told(recording, "q1"), watched(recording, "q1")[0]):
        step = blamed(life)
        assert (step.fault, step.rule, step.event) == (fault, "the-rule", row["event"])
        assert step.time_us == row[column]
        assert words in life.headline
        assert "(rule 'the-rule')" in life.headline
        assert life.headline.count(".\n") == 0
    healthy = told(recording, "q0")
    assert healthy.blame is None, healthy.headline
    assert "nothing in its life is out of the ordinary" in healthy.headline


def test_the_steps_agree_with_the_tables(tmp_path):
    rule = FaultRule("lost", "drop", request_ids=Q1)
    recording = record(tmp_path, POST4, EVERY_SECOND, rule)
    (row,), (stay,) = (rows_of(recording, name, "q1") for name in ("requests", "owners"))
    life, _ = watched(recording, "q1")
    at = {step.what: step.time_us for step in life.steps}
    assert at["has its pages, and prefill is told which (transfer)"] == row["preallocated_us"]
    assert at["its last bytes land"] == row["landed_us"]
    assert life.headline.startswith(
        "It never ended and 7 pages on decode DP 0 never left the gap: the completion of room 1 "
    )
    (gap,) = [step for step in life.steps if step.kind == "gap"]
    assert (gap.time_us, gap.audit) == (stay["opened_us"], stay["opened_audit"])
    assert (gap.pages, gap.departs) == (7, True)
    took = [step for step in life.steps if step.what.startswith("takes") and "decode" in step.where]
    assert [(step.pages, len(step.page_numbers)) for step in took] == [(7, 7)]
    assert life.steps[-1].what == "decode still has it (transfer) when the replay ends"


def test_a_delay_that_heals_shows_the_gap_open_and_close(tmp_path):
    rule = FaultRule("late", "delay", request_ids=Q1, delay_us=700_000)
    recording = record(tmp_path, POST4, EVERY_SECOND, rule)
    (stay,) = rows_of(recording, "owners", "q1")
    life = told(recording, "q1")
    opened, closed = (step for step in life.steps if step.kind == "gap")
    assert "7 of its pages enter the gap: held" in opened.what
    assert (closed.time_us, closed.audit) == (stay["closed_us"], stay["closed_audit"])
    assert life.headline.startswith("It finished at ")
    assert ", although the completion of room 1 from prefill TP 0 came" in life.headline


def test_a_client_that_goes_away_is_seen_only_by_watching(tmp_path):
    requests = [TraceRequest("q0", 0, 100, 400, cancel_us=200_000)]
    recording = record(tmp_path, HARDENED, requests)
    life, _ = watched(recording, "q0")
    step = blamed(life)
    assert (step.time_us, step.what) == (
        200_000,
        "its client goes away, which both sides are told",
    )
    assert blamed(told(recording, "q0")).what == "ends: aborted"


def test_a_wait_that_takes_too_long_is_seen(tmp_path):
    rule = FaultRule("lost", "drop", request_ids=Q1)
    recording = record(tmp_path, NEW, EVERY_SECOND, rule, completion_timeout_us=3_000_000)
    life, _ = watched(recording, "q1")
    (step,) = [step for step in life.steps if step.what.startswith("its wait has taken too long")]
    assert "timed out: transfer" in step.what
    assert any(each.what == "ends: its transfer failed" for each in life.steps)


def test_pages_given_back_twice_are_told_with_those_whose_they_were(tmp_path):
    rule = FaultRule(
        "twice", "duplicate", direction="prefill", request_ids=Q1, copy_delay_us=1_500_000
    )
    recording = record(
        tmp_path, HARDENED, EVERY_SECOND, rule, defects=("second-acknowledgement-frees-again",)
    )
    life, _ = watched(recording, "q1")
    step = blamed(life)
    assert (step.rule, step.copy) == ("twice", 1)
    wrong = [each for each in life.steps if "are not its to give" in each.what]
    assert [each.pages for each in wrong] == [7]
    assert wrong[0].time_us >= step.time_us
    assert "free already" in wrong[0].what
    assert "7 pages too many stayed free on prefill DP 0" in life.headline


def test_a_wrong_read_brings_the_event_of_another_request_that_did_it(tmp_path):
    requests = [TraceRequest("small", 0, 20, 5), TraceRequest("big", 0, 2_000, 5)]
    rule = FaultRule("astray", "misroute", to="room", request_ids=frozenset({"small"}))
    recording = record(
        tmp_path, POST4, requests, rule, transfer_us_per_page=2_000, early_events="believed"
    )
    life = told(recording, "big")
    foreign = [step for step in life.steps if step.request_id == "small"]
    assert foreign, [step.what for step in life.steps]
    assert blamed(life).request_id == "small"
    assert "held other bytes than its own" in life.headline


def test_a_fault_that_made_no_difference_is_named_and_not_blamed(tmp_path):
    rule = FaultRule("twice", "duplicate", request_ids=Q1, copy_delay_us=1)
    recording = record(tmp_path, HARDENED, EVERY_SECOND, rule)
    life = told(recording, "q1")
    assert life.blame is None
    assert "the faults that touched it made no difference" in life.headline
    assert any(step.rule == "twice" and "no difference" in step.what for step in life.steps)


def test_a_copy_in_a_repeat_cycle_is_a_request_of_its_own(tmp_path):
    from replay.run.session import SessionOptions

    recording = record(
        tmp_path, POST4, EVERY_SECOND, options=SessionOptions(repeats=1), decode_dp=1
    )
    life, sighted = watched(recording, "q1#1")
    (row,) = rows_of(recording, "requests", "q1#1")
    assert life.steps[0].time_us == row["arrival_us"]
    assert {seen.request for seen in sighted.states} == {"q1#1"}
