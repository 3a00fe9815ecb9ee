"""Small replays under one plan, and what was recorded of each event."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from faults.rule import FaultPlan, FaultRule
from replay.profiles.catalogue import find_profile
from replay.recording.event_results import Result
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import open_trace
from traces.schema import TraceRequest
from traces.writer import TraceWriter

SMALL: dict[str, Any] = {
    "total_tokens": 4_096,
    "prefill_total_tokens": 4_096,
    "page_size": 16,
    "prefill_tp": 1,
    "prefill_dp": 1,
    "decode_tp": 1,
    "decode_dp": 1,
}

#: Room for every request, however long some hold their pages.
WIDE_SMALL = {"total_tokens": 65_536, "prefill_total_tokens": 65_536}


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A finished replay: its summary and tables, as dictionaries."""

    summary: dict[str, Any]
    run: dict[str, Any]
    requests: dict[str, dict[str, Any]]
    events: list[dict[str, Any]]

    @property
    def verdict(self) -> str:
        return self.summary["verdict"]

    @property
    def faults(self) -> dict[str, Any]:
        return self.summary["faults"]

    def rule(self, name: str) -> dict[str, int]:
        """What one rule did, from run.json."""
        return self.run["faults"]["rules"][name]

    def touched(self, name: str) -> list[dict[str, Any]]:
        """The deliveries that a rule touched, by request and copy."""
        rows = [row for row in self.events if name in (row["rule"] or "").split(" + ")]
        return sorted(rows, key=lambda row: (row["request_id"], row["event"], row["copy"]))

    def of(self, request_id: str, direction: str = "decode") -> list[dict[str, Any]]:
        """The deliveries of one request's events in one direction, by time."""
        rows = [
            row
            for row in self.events
            if row["request_id"] == request_id and row["direction"] == direction
        ]
        return sorted(rows, key=lambda row: (row["delivered_us"] is None, row["delivered_us"]))


def requests_every(
    gap_us: int, count: int, input_tokens: int = 100, output_tokens: int = 20, **fields: Any
) -> list[TraceRequest]:
    """Requests q0, q1, ... that arrive so far apart."""
    return [
        TraceRequest(f"q{number}", number * gap_us, input_tokens, output_tokens, **fields)
        for number in range(count)
    ]


def record(
    profile: str,
    requests: list[TraceRequest],
    *rules: FaultRule,
    seed: int = 0,
    options: SessionOptions | None = None,
    **fields: Any,
) -> Recorded:
    """Replay a few requests through a small pair, with some profile fields changed."""
    with tempfile.TemporaryDirectory() as directory:
        path, out = Path(directory) / "trace.parquet", Path(directory) / "recording"
        with TraceWriter(path, source="test", block_size=None) as writer:
            for request in requests:
                writer.write(request)
        summary = replay(
            ReplayRequest(
                trace=open_trace(path),
                profile=dataclasses.replace(find_profile(profile), **(SMALL | fields)),
                plan=FaultPlan(rules),
                options=options or SessionOptions(seed=seed),
                device="cpu",
            ),
            out,
        )
        return Recorded(
            summary,
            json.loads((out / "run.json").read_text()),
            {row["request_id"]: row for row in pq.read_table(out / "requests.parquet").to_pylist()},
            [
                row | {"result": Result.of_row(row).text}
                for row in pq.read_table(out / "events.parquet").to_pylist()
            ],
        )
