"""The Mooncake conversation trace, which has no aborts, is clean on every profile and topology.

`make mooncake` replays all of it on all of them. Here its beginning is replayed on a third of them, in which
every two of a profile, a decode DP, a prefill TP and a page size meet.
"""

import dataclasses
import itertools
import os

import pytest

from faults.rule import FaultPlan
from replay.profiles.catalogue import builtin_profiles, find_profile
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from replay.verdict.rules import objections
from traces.dataset import TraceWriter, open_trace

REQUESTS = int(os.environ.get("KVREPLAY_MOONCAKE_REQUESTS", "40"))
DECODE_DPS, PREFILL_TPS, PAGE_SIZES = (1, 2, 8), (1, 8, 16), (1, 16, 64)
TOPOLOGIES = [
    (DECODE_DPS[one], PREFILL_TPS[two], PAGE_SIZES[three])
    for one, two, three in itertools.product(range(3), repeat=3)
    if REQUESTS > 40 or (one + two + three) % 3 == 0
]


@pytest.fixture(scope="module")
def beginning(mooncake, tmp_path_factory):
    trace = open_trace(mooncake)
    path = tmp_path_factory.mktemp("beginning") / "trace.parquet"
    with TraceWriter(path, source="test", block_size=trace.block_size) as writer:
        for number, request in enumerate(trace.iter_requests()):
            if number == REQUESTS:
                break
            writer.write(request)
    return open_trace(path)


@pytest.mark.slow
@pytest.mark.parametrize(("decode_dp", "prefill_tp", "page_size"), TOPOLOGIES)
@pytest.mark.parametrize("profile", builtin_profiles())
def test_no_topology_loses_a_page(beginning, profile, decode_dp, prefill_tp, page_size):
    request = ReplayRequest(
        trace=beginning,
        profile=dataclasses.replace(
            find_profile(profile), decode_dp=decode_dp, prefill_tp=prefill_tp, page_size=page_size
        ),
        plan=FaultPlan(),
        options=SessionOptions(),
        device="cpu",
    )
    summary = replay(request)
    assert summary["verdict"] == "clean", summary["why"]
    assert objections(summary) == []
    assert summary["requests"]["finished"] == beginning.request_count
