"""Lives of pages that were wronged: the step that no correct engine takes is told, and its cause."""

import pyarrow.parquet as pq
from life_helpers import blamed, every, page_of, record

from faults.rule import FaultRule
from replay.explain.page_life import last_holder
from replay.recording.owner_codes import FREE
from traces.schema import TraceRequest

HARDENED = "hardened"
Q1 = frozenset({"q1"})


def departures(life):
    return [(step.request_id, step.what) for step in life.steps if step.departs]


def test_a_page_given_back_twice(tmp_path):
    rule = FaultRule(
        "twice", "duplicate", direction="prefill", request_ids=Q1, copy_delay_us=1_500_000
    )
    requests = every(1_000_000, 3)
    recording = record(
        tmp_path, HARDENED, requests, rule, defects=("second-acknowledgement-frees-again",)
    )
    life, _ = page_of(recording, "prefill0/dp0", 1)
    step = blamed(life)
    assert (step.rule, step.request_id, step.copy) == ("twice", "q1", 1)
    assert "the acknowledgement of room 1 to prefill TP 0 came again" in life.headline
    assert ("q1", "gives it back although it is not its own: it is free") in departures(life)
    rows = pq.read_table(recording.directory / "owners.parquet").to_pylist()
    (stay,) = [row for row in rows if row["share"] == "over-freed"]
    (gap,) = [each for each in life.steps if each.kind == "gap"]
    assert (gap.time_us, gap.audit, gap.pages) == (
        stay["opened_us"],
        stay["opened_audit"],
        stay["pages"],
    )


def test_a_page_that_was_released_under_its_writer(tmp_path):
    """The aborted transfer's bytes land in a page that the next request holds by then."""
    rule = FaultRule("gone", "abort", when="moving", request_ids=frozenset({"q0"}))
    requests = [
        TraceRequest("q0", 0, 1_000, 20),
        *(TraceRequest(f"q{at}", 300_000 + 10_000 * at, 100, 200) for at in range(1, 4)),
    ]
    recording = record(
        tmp_path,
        HARDENED,
        requests,
        rule,
        defects=("abort-frees-under-the-writer",),
        transfer_us_per_page=20_000,
    )
    events = pq.read_table(recording.directory / "contents.parquet").to_pylist()
    assert events, "somebody read what q0's transfer had written"
    number = events[0]["first_page"]
    life, sighted = page_of(recording, "decode0/dp0", number)
    step = blamed(life)
    assert (step.rule, step.request_id) == ("gone", "q0")
    told = departures(life)
    reader = events[0]["request_id"]
    assert ("q0", f"its bytes land in it although it is not its own: it is {reader}'s") in told
    assert (reader, "decode reads other bytes from it than its own") in told
    owners = [sighted.name(seen.by[0]) for seen in sighted.pages if seen.action == "take"]
    assert owners[:2] == ["q0", reader]


def test_a_cached_page_that_an_overdue_transfer_locks(tmp_path):
    """The gap is the request's that reads it, not that of whoever brought it."""
    import numpy as np

    hashes = np.arange(1, 9, dtype=np.uint64)
    requests = [
        TraceRequest(f"q{at}", at * 1_000_000, 128, 10, block_hashes=hashes) for at in range(3)
    ]
    rule = FaultRule("unheard", "drop", direction="prefill", request_ids=Q1)
    recording = record(
        tmp_path, "sglang-0.4.6.post4", requests, rule, block_size=16, prefill_cache="radix"
    )
    rows = pq.read_table(recording.directory / "owners.parquet").to_pylist()
    (stay,) = [row for row in rows if row["share"] == "cache-held"]
    life, _ = page_of(recording, "prefill0/dp0", 1)
    assert [step.request_id for step in life.steps if step.kind == "gap"] == ["q1"]
    assert blamed(life).rule == "unheard"
    assert stay["closed_audit"] is None
    assert "is the prefix cache's in the end" in life.headline


def test_a_page_nobody_ever_had(tmp_path):
    recording = record(tmp_path, HARDENED, every(1_000_000, 2))
    life, sighted = page_of(recording, "decode0/dp0", 4_000)
    assert (life.steps, life.blame) == ((), None)
    assert life.headline == "Page 4000 of decode DP 0 was never given to anybody."
    assert last_holder(sighted) == FREE


def test_a_healthy_page_goes_from_hand_to_hand(tmp_path):
    recording = record(tmp_path, HARDENED, every(1_000_000, 3))
    life, _ = page_of(recording, "decode0/dp0", 1)
    assert life.blame is None
    hands = [(step.request_id, step.what) for step in life.steps if step.kind == "pages"]
    assert hands == [(f"q{at}", what) for at in range(3) for what in ("takes it", "gives it back")]
    assert "was given out 3 times and is free in the end" in life.headline
