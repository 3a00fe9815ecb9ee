"""Inject, then heal: faults stop, time goes on, and only what is late or timed may still happen."""

import json

import pyarrow.parquet as pq

from traces.schema import TraceRequest

ONE_AT_A_TIME = [
    word
    for pair in (
        "total_tokens=1024", "prefill_total_tokens=1024", "page_size=1", "prefill_tp=1",
        "decode_tp=1", "decode_dp=1", "reserved_decode_tokens=64",
    )
    for word in ("--set", pair)
]  # fmt: skip

PLAN = """
[[rule]]
name = "first is late"
fault = "delay"
occurrences = [1]
delay_us = 40_000_000

[[rule]]
name = "later ones are lost"
fault = "drop"
request_ids = ["b"]
"""


def test_no_fault_acts_while_healing(write_trace, run_json, tmp_path):
    """Request b has no room before a's late completion heals, and by then the faults are over."""
    trace = write_trace([TraceRequest("a", 0, 900, 10), TraceRequest("b", 10, 900, 10)])
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    words = ("--profile", "sglang-0.4.6.post4", *ONE_AT_A_TIME, "--plan", plan)
    _, summary = run_json(trace, *words, "--out", tmp_path / "r")
    assert summary["requests"]["finished"] == 2
    # The rule for b never fired, so nothing is proved about losing it.
    assert summary["verdict"] == "inconclusive"
    assert "later ones are lost" in summary["why"]
    phases = json.loads((tmp_path / "r" / "run.json").read_text())["phases"]
    assert phases[0]["end_us"] < 40_000_000 < phases[1]["end_us"]


def test_retracted_and_released_pages_let_the_next_request_in(write_trace, run_json):
    """A timeout frees the pool of an idle engine: those who wait must notice."""
    trace = write_trace([TraceRequest("a", 0, 900, 10), TraceRequest("b", 10, 900, 10)])
    words = ("--profile", "hardened", *ONE_AT_A_TIME, "--drop", "1", "--expect", "transient")
    code, summary = run_json(trace, *words)
    assert code == 0
    assert summary["requests"] == {
        "total": 2, "finished": 1, "aborted": 0, "failed": 1, "stuck": 0,
    }  # fmt: skip


def test_quiet_audits_are_those_in_which_only_the_gap_is_missing(make_trace, run_json, tmp_path):
    run_json(
        make_trace(), "--profile", "sglang-0.4.6.post4", "--drop", "0.1", "--out", tmp_path / "r"
    )
    pools = json.loads((tmp_path / "r" / "run.json").read_text())["pools"]
    totals = {pool["pool"]: pool["total_tokens"] for pool in pools}
    rows = pq.read_table(tmp_path / "r" / "audits.parquet").to_pylist()
    assert {row["quiet"] for row in rows} == {True, False}
    for row in rows:
        accounted = row["available"] + row["evictable"] + row["protected"] + row["gap"]
        assert row["quiet"] == (accounted == totals[row["pool"]])


def test_a_request_too_long_for_the_pool_is_turned_away(write_trace, run_json):
    """post4 leaks the one placeholder token that stands in for it; later versions do not."""
    trace = write_trace([TraceRequest("huge", 0, 5000, 10), TraceRequest("fits", 10, 100, 10)])
    _, leaks = run_json(trace, "--profile", "sglang-0.4.6.post4", *ONE_AT_A_TIME)
    assert leaks["kinds"] == {"orphaned": 1}
    assert leaks["mismatch"]["available"] == 1023
    _, released = run_json(trace, "--profile", "sglang-0.5.23", *ONE_AT_A_TIME)
    assert released["verdict"] == "clean"
    assert released["requests"]["aborted"] == 1


def test_a_failed_transfer_kills_post4_and_is_released_later(make_trace, run_json, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text('[[rule]]\nfault = "fail"\noccurrences = [4]\n')
    _, summary = run_json(make_trace(), "--profile", "sglang-0.4.6.post4", "--plan", plan)
    assert summary["verdict"] == "persistent"
    assert summary["engine_died_message"] == "Transfer failed"
    assert summary["engine_died_us"] is not None
    code, summary = run_json(make_trace(), "--profile", "sglang-0.5.23", "--plan", plan)
    assert (code, summary["verdict"], summary["requests"]["failed"]) == (0, "clean", 1)


def test_bytes_that_never_move_time_out_in_0_5_23(write_trace, run_json, tmp_path):
    """A prefill that drops its request: 300 s later decode gives up, without being told."""
    trace = write_trace([TraceRequest("a", 0, 900, 10, cancel_us=1_500)])
    quick = ("--set", "abort_in_transfer=ignore", "--set", "abort_in_prealloc=ignore")
    words = (
        "--profile",
        "sglang-0.5.23",
        *ONE_AT_A_TIME,
        *quick,
        "--set",
        "decode_tells_prefill=false",
    )
    code, summary = run_json(trace, *words)
    assert (code, summary["verdict"]) == (0, "transient")
    assert summary["requests"]["failed"] == 1
    assert summary["virtual_us"] >= 300_000_000
