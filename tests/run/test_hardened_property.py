"""The design that survives every fault, under random faults, aborts, pools and topologies."""

import json
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults.rule import FaultPlan, FaultRule
from replay.profiles.catalogue import find_profile
from replay.profiles.overrides import override
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import open_trace
from traces.schema import TraceRequest
from traces.writer import TraceWriter

TOPOLOGIES = ((1, 1, 1, 1), (4, 1, 4, 1), (4, 1, 4, 4), (4, 2, 8, 2), (2, 1, 8, 2))

rules = st.builds(
    FaultRule,
    name=st.uuids().map(str),
    fault=st.sampled_from(("drop", "delay", "duplicate", "fail")),
    direction=st.sampled_from(("decode", "prefill")),
    probability=st.floats(0.1, 1.0),
    delay_us=st.integers(1_000, 120_000_000),
    copies=st.integers(1, 3),
    copy_delay_us=st.integers(0, 90_000_000),
)


@st.composite
def arrivals(draw):
    """A few requests close together, some of them aborted at any moment of their lives."""
    rows, now_us = [], 0
    for number in range(draw(st.integers(1, 12))):
        now_us += draw(st.integers(0, 400_000))
        cancel_us = draw(st.none() | st.integers(now_us, now_us + 6_000_000))
        rows.append(
            TraceRequest(
                f"r{number}",
                now_us,
                draw(st.integers(1, 900)),
                draw(st.integers(1, 200)),
                cancel_us=cancel_us,
            )
        )
    return rows


@pytest.mark.slow
@settings(suppress_health_check=list(HealthCheck))
@given(
    requests=arrivals(),
    plan=st.lists(rules, max_size=3),
    topology=st.sampled_from(TOPOLOGIES),
    page_size=st.sampled_from((1, 16, 64)),
    pool_tokens=st.sampled_from((1024, 2048, 8192)),
    seed=st.integers(0, 1000),
)
def test_hardened_conserves_every_page_at_every_step(
    requests, plan, topology, page_size, pool_tokens, seed
):
    sizes = dict(
        zip(("prefill_tp", "prefill_dp", "decode_tp", "decode_dp"), map(str, topology), strict=True)
    )
    profile = override(
        find_profile("hardened"),
        sizes
        | {
            "page_size": str(page_size),
            "total_tokens": str(pool_tokens),
            "prefill_total_tokens": str(pool_tokens),
            "reserved_decode_tokens": "32",
            "max_running_requests": "4",
            "chunked_prefill_tokens": "256",
        },
    )
    with tempfile.TemporaryDirectory() as directory:
        trace, out = Path(directory) / "t.parquet", Path(directory) / "r"
        with TraceWriter(trace, source="test", block_size=None) as writer:
            for request in requests:
                writer.write(request)
        options = SessionOptions(seed=seed, every_step=True)
        summary = replay(
            ReplayRequest(
                trace=open_trace(trace),
                profile=profile,
                plan=FaultPlan(tuple(plan)),
                options=options,
                device="cpu",
            ),
            out,
        )
        audits = pq.read_table(out / "audits.parquet")
        totals = {
            p["pool"]: p["total_tokens"]
            for p in json.loads((out / "run.json").read_text())["pools"]
        }
    note = json.dumps(summary, indent=1)
    assert summary["verdict"] != "persistent", note
    assert summary["requests"]["stuck"] == 0, note
    assert summary["final_gap"]["tokens"] == 0, note
    assert summary["oracles"]["contents"] == summary["oracles"]["ledger"] == 0, note
    assert "counter-drift" not in summary["kinds"], note
    assert not summary["engine_check_fired"], note
    for pool in totals:
        rows = audits.filter(pc.equal(pc.cast(audits["pool"], "string"), pool))
        columns = ("available", "evictable", "protected", "live", "in_transfer", "gap")
        both_sides = [
            sum(values) for values in zip(*(rows[c].to_pylist() for c in columns), strict=True)
        ]
        assert set(both_sides) <= {totals[pool]}
        assert pc.min(rows["gap"]).as_py() >= 0
