"""Small recordings made on the spot: one for each kind of story a report has to tell."""

from pathlib import Path

import pytest
from report_helpers import HOSTILE, record, write_trace

from faults.rule import FaultPlan, FaultRule


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Recordings by name; tests that change one copy it first."""
    root = tmp_path_factory.mktemp("recordings")
    trace = write_trace(root / "trace.parquet")
    lost = FaultRule(name="lost", fault="drop", occurrences=frozenset({3, 7}))
    late = FaultRule(name="late", fault="delay", occurrences=frozenset({5}), delay_us=2_000_000)
    twice = FaultRule(
        name=f"twice {HOSTILE}", fault="duplicate", direction="prefill", probability=0.2
    )
    never = FaultRule(name="never", fault="drop", request_ids=frozenset({"nobody"}))
    soon = FaultRule(name="soon", fault="delay", occurrences=frozenset({20}), delay_us=100_000)
    one_rank = {"prefill_tp": "1", "decode_tp": "1", "decode_dp": "1"}
    chunk = {"prefill_cache": "chunk", "duplicate_acknowledgement": "free-again"}
    return {
        "clean": record(root / "clean", trace, "hardened", FaultPlan()),
        "leak": record(root / "leak", trace, "sglang-0.4.6.post4", FaultPlan((lost, late))),
        "late": record(root / "late", trace, "sglang-0.4.6.post4", FaultPlan((late,))),
        # On one busy rank the gap is never seen while nothing runs.
        "busy": record(root / "busy", trace, "sglang-0.4.6.post4", FaultPlan((soon,)), one_rank),
        "over-free": record(
            root / "over-free",
            trace,
            "sglang-0.4.6.post4",
            FaultPlan((twice, never), comment=f"why {HOSTILE}"),
            chunk,
        ),
    }


@pytest.fixture
def work_dir(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
