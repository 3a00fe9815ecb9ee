"""Small replays with the logs of their servers; what the tests of logs share."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.rule import FaultPlan, FaultRule
from replay.engine_log.servers import servers_of
from replay.engine_log.writing import server_lines
from replay.profiles.catalogue import find_profile
from replay.profiles.defects import with_defects
from replay.recording.reader import Recording
from replay.reproduce.schedules import BLOCK_SIZE, draw_schedule
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import TraceWriter, open_trace
from traces.schema import TraceRequest

SMALL: dict[str, Any] = {
    "total_tokens": 65_536,
    "prefill_total_tokens": 65_536,
    "page_size": 16,
    "prefill_tp": 1,
    "prefill_dp": 1,
    "decode_tp": 1,
    "decode_dp": 1,
}


@dataclass(frozen=True)
class Logged:
    """A finished replay: its log by server, its audits, its summary."""

    logs: dict[str, list[str]]
    audits: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    summary: dict[str, Any]
    run: dict[str, Any]

    def lines(self, server: str, words: str) -> list[str]:
        return [line for line in self.logs[server] if words in line]


def logged(
    profile: str,
    requests: list[TraceRequest],
    *rules: FaultRule,
    defects: tuple[str, ...] = (),
    options: SessionOptions | None = None,
    block_size: int | None = None,
    **fields: Any,
) -> Logged:
    """Replay some requests and write the logs."""
    with tempfile.TemporaryDirectory() as directory:
        path, out = Path(directory) / "trace.parquet", Path(directory) / "recording"
        with TraceWriter(path, source="test", block_size=block_size) as writer:
            for request in requests:
                writer.write(request)
        changed = dataclasses.replace(find_profile(profile), **fields)
        summary = replay(
            ReplayRequest(
                trace=open_trace(path),
                profile=with_defects(changed, defects),
                plan=FaultPlan(rules),
                options=options or SessionOptions(),
                device="cpu",
            ),
            out,
        )
        recording = Recording.open(out)
        return Logged(
            {
                server.name: list(server_lines(recording, server))
                for server in servers_of(recording.run)
            },
            recording.table("audits").to_pylist(),
            recording.table("requests").to_pylist(),
            summary,
            recording.run,
        )


def logged_schedule(seed: int, profile: str, every_step: bool = False, **fields: Any) -> Logged:
    """Replay a random schedule and write the logs."""
    schedule = draw_schedule(seed)
    deployment = schedule.deployment | {"mixed_tp_needs_mla": False} | fields
    return logged(
        profile,
        list(schedule.requests),
        *schedule.plan.rules,
        options=SessionOptions(seed=seed, every_step=every_step, repeats=1),
        block_size=BLOCK_SIZE,
        **deployment,
    )


def numbers(line: str) -> list[int]:
    """Every whole number of a line."""
    return [int(number) for number in re.findall(r"-?\d+", line)]
