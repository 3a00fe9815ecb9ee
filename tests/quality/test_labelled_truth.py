"""The truth about a replay comes from the pair's own state, and is what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled.truth import Label, Truth, find_truth

from faults.rule import FaultPlan, FaultRule
from replay.profiles.catalogue import find_profile
from replay.profiles.defects import with_defects
from replay.profiles.overrides import override
from replay.run.replay_once import ReplayRequest
from replay.run.session import SessionOptions
from traces.dataset import open_trace
from traces.schema import TraceRequest
from traces.writer import TraceWriter

SMALL = {
    "total_tokens": "65536",
    "prefill_total_tokens": "65536",
    "page_size": "16",
    "prefill_tp": "1",
    "decode_tp": "1",
    "decode_dp": "1",
}


def truth_of(
    directory: Path,
    profile: str,
    *rules: FaultRule,
    defect: str = "",
    blocks: bool = False,
    **fields: str,
) -> Truth:
    trace = directory / "trace.parquet"
    hashes = np.arange(7, dtype=np.uint64) if blocks else None
    with TraceWriter(trace, source="test", block_size=16 if blocks else None) as writer:
        for number in range(4):
            writer.write(TraceRequest(f"q{number}", number * 100_000, 100, 30, hashes))
    changed = override(find_profile(profile), SMALL | fields)
    return find_truth(
        ReplayRequest(
            trace=open_trace(trace),
            profile=with_defects(changed, (defect,) if defect else ()),
            plan=FaultPlan(rules),
            options=SessionOptions(repeats=1, heal_budget_us=1_000_000),
            device="cpu",
        )
    )


def second(fault: str, **fields: Any) -> FaultRule:
    """A fault that hits the second completion."""
    return FaultRule("rule", fault, occurrences=frozenset({2}), **fields)  # type: ignore[arg-type]


def test_nothing_wrong_is_clean(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, "sglang-0.5.23")
    assert (truth.label, truth.broken, truth.disturbed) == (Label.CLEAN, {}, set())


def test_a_lost_completion_is_for_good_unless_a_timeout_ends_it(tmp_path: Path) -> None:
    drop = second("drop")
    hung = truth_of(tmp_path, "sglang-0.4.6.post4", drop)
    assert hung.label is Label.PERSISTENT
    assert hung.broken == {"decode0/dp0": "7 pages belong to 1 requests"}
    # Longer than the heal budget that the replay itself was given.
    assert truth_of(tmp_path, "hardened", drop).label is Label.TRANSIENT


def test_what_comes_late_is_transient_however_late(tmp_path: Path) -> None:
    late = second("delay", delay_us=10_000_000_000)
    truth = truth_of(tmp_path, "sglang-0.4.6.post4", late)
    assert (truth.label, truth.disturbed) == (Label.TRANSIENT, {"decode0/dp0"})


def test_what_the_last_cycle_leaves_is_waited_for(tmp_path: Path) -> None:
    # Every transfer of every cycle waits for a sender that never sends, until its time is up.
    truth = truth_of(
        tmp_path, "hardened", defect="dummies-are-expected", prefill_tp="2", mla="true"
    )
    assert truth.label is Label.TRANSIENT, truth.broken


def test_forgotten_pages_are_for_good(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, "hardened", second("fail"), defect="failed-transfer-not-released")
    assert truth.label is Label.PERSISTENT
    assert "pages belong to" in truth.broken["decode0/dp0"]


def test_freed_twice_is_seen_by_counting(tmp_path: Path) -> None:
    twice = FaultRule("rule", "duplicate", direction="prefill")
    truth = truth_of(tmp_path, "hardened", twice, defect="second-acknowledgement-frees-again")
    assert truth.label is Label.PERSISTENT
    assert truth.broken == {"prefill0/dp0": "-28 pages are neither free nor cached"}


@pytest.mark.parametrize(
    ("profile", "shown"), [("sglang-0.5.23", Label.PERSISTENT), ("vllm-0.33", Label.SILENT)]
)
def test_a_counter_shows_where_a_check_reads_it(tmp_path: Path, profile: str, shown: Label) -> None:
    truth = truth_of(tmp_path, profile, defect="counter-drift-on-release", blocks=True)
    assert (truth.label, truth.log_label) == (Label.PERSISTENT, shown)
    assert "count as locked" in truth.broken["prefill0/dp0"]


def test_bytes_of_another_are_silent(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path,
        "hardened",
        second("early", early_us=1_000_000),
        defect="completion-before-the-bytes",
        transfer_us="400000",
    )
    assert (truth.label, truth.broken) == (Label.SILENT, {})
    assert truth.wrong_pages > 0
