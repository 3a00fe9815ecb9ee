"""Every fact measured on the real scheduler of vLLM 0.33.0, asked of its profile.

Eight requests of 160 tokens, blocks of 16 tokens, 10 blocks each, a pool of 199 blocks a side. One of
them, `r3`, is the one that the fault hits.
"""

import pyarrow.parquet as pq
import pytest
from engine_helpers import replay_small

from faults.rule import FaultRule
from replay.run.session import SessionOptions
from traces.schema import TraceRequest

VLLM = "vllm-0.33"
HIT = frozenset({"r3"})
DECODE, PREFILL = "decode0/dp0", "prefill0/dp0"
POOL_TOKENS = 199 * 16
TEN_BLOCKS = 10 * 16

#: A short answer is over 90 ms after its request arrived, a long one after four seconds.
SHORT, LONG = 2, 200

STILL_RUNNING = "AssertionError: assert RequestStatus.is_finished(req.status)"
UNKNOWN = "AssertionError: assert req_id in self.requests"


def requests(count=8, output_tokens=SHORT, cancel_us=None):
    """A request every 50 ms; the client of `r3` goes away at `cancel_us`."""
    return [
        TraceRequest(
            f"r{turn}",
            turn * 50_000,
            160,
            output_tokens,
            cancel_us=cancel_us if turn == 3 else None,
        )
        for turn in range(count)
    ]


def fault(kind, direction, name="rule", request_ids=HIT, **conditions):
    return FaultRule(name, kind, direction=direction, request_ids=request_ids, **conditions)


def replay_vllm(folder, arrivals, *rules, **fields):
    folder.mkdir(exist_ok=True)
    pair = {
        "total_tokens": POOL_TOKENS,
        "prefill_total_tokens": POOL_TOKENS,
        "page_size": 16,
    }
    run = replay_small(folder, VLLM, arrivals, *rules, **(pair | fields))
    assert not run.summary["engine_check_fired"], "vLLM has no such check"
    assert run.summary["faults"]["never_fired"] == 0
    return run


def assert_nothing_is_lost(run):
    assert run.summary["final_gap"] == {"tokens": 0, "pages": 0, "pools": {}}
    last = {row["pool"]: row["available"] for row in run.audits}
    assert last == {DECODE: POOL_TOKENS, PREFILL: POOL_TOKENS}
    assert run.summary["oracles"]["liveness"] == 0


def assert_ten_blocks_are_lost(run, pool):
    assert run.verdict == "persistent"
    assert run.summary["kinds"] == {"stuck": 10}
    assert run.summary["final_gap"] == {
        "tokens": TEN_BLOCKS,
        "pages": 10,
        "pools": {pool: TEN_BLOCKS},
    }
    mismatch = run.summary["mismatch"]
    assert (mismatch["pool"], mismatch["available"], mismatch["total"]) == (pool, 3_024, 3_184)
    assert mismatch["quiet"]
    assert run.summary["engine_died_us"] is None
    assert "GPU KV cache usage: 5.0%" in run.summary["engine_message"]


@pytest.mark.parametrize("output_tokens", [1, SHORT, LONG])
def test_without_a_fault_no_block_is_lost(tmp_path, output_tokens):
    run = replay_vllm(tmp_path, requests(output_tokens=output_tokens))
    assert run.verdict == "clean"
    assert run.summary["mismatch"] is None
    assert run.summary["requests"]["finished"] == 8
    assert_nothing_is_lost(run)


@pytest.mark.parametrize("direction", ["decode", "prefill"])
def test_a_late_completion_heals(tmp_path, direction):
    late = fault("delay", direction, delay_us=500_000)
    run = replay_vllm(tmp_path, requests(), late)
    assert run.verdict == "transient"
    assert run.summary["kinds"] == {"held": 10}
    assert run.summary["mismatch"]["pool"] == {"decode": DECODE, "prefill": PREFILL}[direction]
    assert run.summary["mismatch"]["available"] == 3_024
    assert run.summary["requests"]["finished"] == 8
    assert run.summary["engine_died_us"] is None
    assert_nothing_is_lost(run)


# D: the decode side waits for its completion (finished_recving).


@pytest.mark.parametrize("repeats", [0, 3])
def test_a_dropped_receive_loses_ten_blocks_for_good(tmp_path, repeats):
    options = SessionOptions(repeats=repeats)
    run = replay_vllm(tmp_path, requests(), fault("drop", "decode"), options=options)
    assert_ten_blocks_are_lost(run, DECODE)
    assert run.summary["growth"] == ("one-off" if repeats else "unknown")
    assert run.requests["r3"]["decode_state"] == "transfer"
    assert run.summary["requests"] == {
        "total": 8,
        "finished": 7,
        "aborted": 0,
        "failed": 0,
        "stuck": 1,
    }


@pytest.mark.parametrize("cancel_us", [161_000, 400_000, 60_000_000])
def test_a_client_abort_does_not_release_a_dropped_receive(tmp_path, cancel_us):
    run = replay_vllm(tmp_path, requests(cancel_us=cancel_us), fault("drop", "decode"))
    assert_ten_blocks_are_lost(run, DECODE)
    assert run.requests["r3"]["decode_state"] == "deferred"


def test_a_receive_that_comes_after_the_client_has_left_heals(tmp_path):
    late = fault("delay", "decode", delay_us=1_000_000)
    run = replay_vllm(tmp_path, requests(cancel_us=400_000), late)
    assert run.verdict == "transient"
    assert run.summary["mismatch"]["available"] == 3_024
    assert run.requests["r3"]["decode_state"] == "aborted"
    assert run.requests["r3"]["ended_us"] > 1_150_000, "it is the completion that releases it"
    assert run.summary["requests"]["finished"] == 7
    assert run.summary["engine_died_us"] is None
    assert_nothing_is_lost(run)


@pytest.mark.parametrize(
    ("output_tokens", "cancel_us", "copy_delay_us", "words"),
    [
        pytest.param(LONG, None, 100_000, STILL_RUNNING, id="while-it-runs"),
        pytest.param(SHORT, None, 5_000_000, UNKNOWN, id="after-it-is-done"),
        pytest.param(LONG, 400_000, 1_000_000, UNKNOWN, id="after-its-client-left"),
    ],
)
def test_a_second_receive_kills_the_decode_scheduler(
    tmp_path, output_tokens, cancel_us, copy_delay_us, words
):
    twice = fault("duplicate", "decode", copy_delay_us=copy_delay_us)
    run = replay_vllm(tmp_path, requests(8, output_tokens, cancel_us), twice)
    assert run.summary["engine_died_message"] == words
    assert 150_000 + copy_delay_us < run.summary["engine_died_us"] < 200_000 + copy_delay_us
    assert run.verdict == "inconclusive"
    assert run.summary["why"].endswith(f"with the words: {words}")


# P: the prefill side waits for its completion (finished_sending).


@pytest.mark.parametrize("repeats", [0, 3])
def test_a_send_completion_that_never_comes_loses_ten_blocks_for_good(tmp_path, repeats):
    options = SessionOptions(repeats=repeats)
    run = replay_vllm(tmp_path, requests(), fault("drop", "prefill"), options=options)
    assert_ten_blocks_are_lost(run, PREFILL)
    assert run.summary["growth"] == ("one-off" if repeats else "unknown")
    assert run.summary["requests"]["finished"] == 8
    assert run.requests["r3"]["prefill_state"] == "inflight"


@pytest.mark.parametrize(
    ("cancel_us", "state"), [(185_000, "aborted"), (400_000, "aborted"), (60_000_000, "finished")]
)
def test_a_client_abort_does_not_release_an_unacknowledged_send(tmp_path, cancel_us, state):
    run = replay_vllm(tmp_path, requests(8, LONG, cancel_us), fault("drop", "prefill"))
    assert_ten_blocks_are_lost(run, PREFILL)
    assert run.requests["r3"]["decode_state"] == state
    assert run.requests["r3"]["prefill_state"] == "inflight"


@pytest.mark.parametrize("copy_delay_us", [1_000, 100_000, 5_000_000])
def test_a_second_send_completion_kills_the_prefill_scheduler(tmp_path, copy_delay_us):
    twice = fault("duplicate", "prefill", copy_delay_us=copy_delay_us)
    run = replay_vllm(tmp_path, requests(), twice)
    assert run.summary["engine_died_message"] == UNKNOWN
    assert 150_000 + copy_delay_us < run.summary["engine_died_us"] < 200_000 + copy_delay_us
    assert run.verdict == "inconclusive"
    assert run.summary["why"].endswith(f"with the words: {UNKNOWN}")
    assert run.requests["r3"]["decode_state"] == "finished"


def test_a_send_completion_taken_for_a_receive_frees_in_silence(tmp_path):
    run = replay_vllm(tmp_path, requests(), fault("misroute", "prefill"))
    assert run.verdict == "clean"
    assert run.summary["engine_died_us"] is None
    assert run.requests["r3"]["prefill_state"] == "done"
    assert_nothing_is_lost(run)
    events = pq.read_table(tmp_path / "recording" / "events.parquet").to_pylist()
    (misrouted,) = (event for event in events if event["rule"])
    assert (misrouted["request_id"], misrouted["direction"]) == ("r3", "prefill")
    assert misrouted["outcome"] == "accepted"
    assert misrouted["detail"] == "released without its acknowledgement"


def test_a_send_completion_taken_for_a_receive_frees_before_the_other_rank_has_sent(tmp_path):
    """Of two TP ranks one never says that it has sent, and the blocks are given back all the same."""
    lost = fault("drop", "prefill", "lost", prefill_tp_ranks=frozenset({1}))
    misrouted = fault("misroute", "prefill", "misrouted", prefill_tp_ranks=frozenset({0}))
    two_ranks = {"prefill_tp": 2, "decode_tp": 2, "mla": False}
    held = replay_vllm(tmp_path / "held", requests(), lost, **two_ranks)
    assert_ten_blocks_are_lost(held, PREFILL)
    freed = replay_vllm(tmp_path / "freed", requests(), lost, misrouted, **two_ranks)
    assert freed.verdict == "clean"
    assert freed.summary["engine_died_us"] is None
    assert_nothing_is_lost(freed)


def test_with_every_send_completion_dropped_the_pool_stalls_at_request_20(tmp_path):
    lost = fault("drop", "prefill", request_ids=None)
    run = replay_vllm(tmp_path, requests(25), lost)
    states = [
        (run.requests[f"r{turn}"]["prefill_state"], run.requests[f"r{turn}"]["decode_state"])
        for turn in range(25)
    ]
    assert states == [("inflight", "finished")] * 19 + [("waiting", "absent")] * 6
    assert run.verdict == "persistent"
    assert run.summary["kinds"] == {"stuck": 190}
    assert run.summary["mismatch"]["pool"] == PREFILL
    assert run.summary["mismatch"]["available"] == 9 * 16, "one block too few for a twentieth"
    assert run.summary["requests"]["stuck"] == 6
    assert run.summary["engine_died_us"] is None
