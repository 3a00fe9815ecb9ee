"""A client that goes away at any moment of a request's life leaves nothing behind on hardened.

One replay holds many copies of one small scene, far apart, in which the client of `r` leaves a
little later each time, so that every queue and state is met on both sides.
"""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from engine_helpers import HARDENED, replay_small

from faults.rule import FaultRule
from replay.pair.decode_rank import DecodeRank
from replay.pair.prefill_rank import PrefillRank
from replay.verdict.rules import objections
from traces.schema import TraceRequest

#: One scene has so much time; nothing in it takes longer.
SCENE_US = 4_000_000
TOTAL_TOKENS = 640
BLOCK_SIZE = 16

#: `r` has to wait for everything: its slots are taken, its prompt of several chunks comes after a
#: long one, the batch is full when its KV is here, and the pool runs dry as it decodes.
FIELDS = {
    "total_tokens": TOTAL_TOKENS,
    "prefill_total_tokens": TOTAL_TOKENS,
    "reserved_decode_tokens": 0,
    "chunked_prefill_tokens": 64,
    "max_running_requests": 2,
    "metadata_slots": 3,
    "prefill_step_us": 14_000,
    "transfer_us": 9_000,
    "control_latency_us": 2_000,
}

#: The finest where most happens: until the KV is here, until it is batched, until it is done.
EARLY_US = tuple(range(1_300, 170_000, 1_300))
CANCELS_US = (*EARLY_US, *range(170_000, 320_000, 11_300), *range(320_000, 3_300_000, 91_000))

#: A decode step of a batch of two; what ends with it has ended before an abort is looked at.
STEP_US = 18_000 + 2 * 120

DECODE_STATES = {"prealloc", "transfer", "waiting", "running", "retracted"}
PREFILL_STATES = {"bootstrap", "waiting", "running", "inflight"}


def scene(number, cancel_us, shares_prefix):
    """Two come and go, two decode together until the pool is full, and `r` is between them."""
    start_us = number * SCENE_US
    rows = (
        ("quick", 0, 10, 1, None),
        ("short", 0, 100, 12, None),
        ("long", 0, 300, 60, None),
        ("r", 1_000, 150, 80, start_us + cancel_us),
        ("late", 2_000, 100, 70, None),
    )
    common = np.arange(1_000, 1_000 + 20, dtype=np.uint64)
    return [
        TraceRequest(
            f"{name}-{number}",
            start_us + after_us,
            prompt,
            output,
            block_hashes=common[: -(-prompt // BLOCK_SIZE)] if shares_prefix else None,
            cancel_us=leaves_us,
        )
        for name, after_us, prompt, output, leaves_us in rows
    ]


@pytest.fixture
def met(monkeypatch):
    """How often an abort has found its request in each state, by side."""
    seen = {"decode": Counter(), "prefill": Counter()}

    def spy(rank_type, side, state):
        abort = rank_type.abort

        def look_first(rank, request):
            seen[side][getattr(request, state).value] += 1
            return abort(rank, request)

        monkeypatch.setattr(rank_type, "abort", look_first)

    spy(DecodeRank, "decode", "decode_state")
    spy(PrefillRank, "prefill", "prefill_state")
    return seen


def sweep(folder, *rules, cancels_us=CANCELS_US, shares_prefix=False, **fields):
    """Replay a scene for every moment; afterwards all must have ended and all be free again."""
    scenes = [scene(number, at_us, shares_prefix) for number, at_us in enumerate(cancels_us)]
    requests = [row for rows in scenes for row in rows]
    block_size = BLOCK_SIZE if shares_prefix else None
    run = replay_small(
        folder, HARDENED, requests, *rules, block_size=block_size, **(FIELDS | fields)
    )
    unended = {
        name: (row["decode_state"], row["prefill_state"])
        for name, row in run.requests.items()
        if row["decode_state"] not in ("finished", "aborted", "failed")
        or row["prefill_state"] not in ("done", "dropped")
    }
    assert unended == {}
    assert len(run.requests) == len(requests)
    assert objections(run.summary) == []
    assert pq.read_table(folder / "recording" / "contents.parquet").num_rows == 0
    last = {row["pool"]: row for row in run.audits}
    assert set(last) == {"prefill0/dp0", "decode0/dp0"}
    for row in last.values():
        assert row["available"] + row["evictable"] == TOTAL_TOKENS
        assert row["live"] == row["in_transfer"] == row["protected"] == row["gap"] == 0
    return run


def assert_aborts_count(run):
    """Nobody decodes on for a client that is gone, and nobody else suffers."""
    for name, row in run.requests.items():
        what, number = name.split("-")
        if what != "r":
            assert row["decode_state"] == "finished", name
            continue
        # An abort waits for one step of the batch, or for the chunks that move.
        late_us = row["ended_us"] - int(number) * SCENE_US - CANCELS_US[int(number)]
        assert late_us < 60_000, name
        assert row["decode_state"] == "finished" or late_us >= 0, name
        assert row["decode_state"] != "finished" or late_us < STEP_US, name


both_ways = pytest.mark.parametrize("decode_allocates", ["before-prefill", "after-prefill"])


@both_ways
@pytest.mark.parametrize(("page_size", "reaches"), [(1, "both"), (64, "both"), (16, "decode")])
def test_an_abort_in_every_state_ends_the_request_and_releases_every_page(
    tmp_path, met, decode_allocates, page_size, reaches
):
    run = sweep(
        tmp_path,
        decode_allocates=decode_allocates,
        page_size=page_size,
        client_abort_reaches=reaches,
    )
    assert run.verdict == "clean"
    assert_aborts_count(run)
    expected = DECODE_STATES | ({"absent"} if decode_allocates == "after-prefill" else set())
    assert set(met["decode"]) == expected
    assert set(met["prefill"]) == (PREFILL_STATES if reaches == "both" else set())


@both_ways
def test_a_shared_prefix_is_unlocked_whenever_a_client_leaves(tmp_path, met, decode_allocates):
    run = sweep(tmp_path, shares_prefix=True, decode_allocates=decode_allocates, page_size=16)
    assert run.verdict == "clean"
    assert_aborts_count(run)
    assert max(row["prefix_pages"] for row in run.requests.values()) > 0
    assert set(met["decode"]) >= {"transfer", "waiting", "running"}
    assert set(met["prefill"]) >= {"bootstrap", "inflight"}


@both_ways
@pytest.mark.parametrize("fault", ["drop", "fail"])
def test_an_abort_may_meet_a_fault(tmp_path, met, decode_allocates, fault):
    """Of every transfer one completion in two goes wrong, on either side."""
    rules = [
        FaultRule(f"{fault}-{side}", fault, side, probability=0.5) for side in ("decode", "prefill")
    ]
    timeouts = {"completion_timeout_us": 200_000, "acknowledgement_timeout_us": 200_000}
    run = sweep(tmp_path, *rules, decode_allocates=decode_allocates, **timeouts)
    assert run.verdict == ("clean" if fault == "fail" else "transient")
    assert set(met["decode"]) >= {"prealloc", "transfer", "waiting", "running"}
    states = Counter(row["decode_state"] for row in run.requests.values())
    assert min(states[each] for each in ("finished", "aborted", "failed")) > 0


@both_ways
def test_what_a_client_gives_up_is_aborted_and_not_failed(tmp_path, decode_allocates):
    """Prefill hears of it first and drops its half; decode must not take that for a failure."""
    run = sweep(tmp_path, cancels_us=EARLY_US, decode_allocates=decode_allocates)
    assert run.summary["requests"]["failed"] == 0
