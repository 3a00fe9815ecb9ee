"""Run one random schedule; what the tests of schedules share."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from replay.profiles.catalogue import find_profile
from replay.profiles.defects import with_defects
from replay.profiles.profile import EngineProfile
from replay.reproduce.schedules import BLOCK_SIZE, Schedule, draw_schedule
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import TraceWriter, open_trace


def fitted(schedule: Schedule, profile: str = "hardened") -> EngineProfile:
    """A profile in the deployment that a schedule has drawn."""
    return dataclasses.replace(find_profile(profile), **schedule.deployment)  # type: ignore[arg-type]


def run_schedule(
    seed: int,
    defects: tuple[str, ...] = (),
    every_step: bool = False,
    keep: Path | None = None,
) -> dict[str, Any]:
    """The summary of one schedule on the hardened pair with some bugs switched on."""
    schedule = draw_schedule(seed)
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace.parquet"
        with TraceWriter(trace, source="schedule", block_size=BLOCK_SIZE) as writer:
            for request in schedule.requests:
                writer.write(request)
        request = ReplayRequest(
            trace=open_trace(trace),
            profile=with_defects(fitted(schedule), defects),
            plan=schedule.plan,
            options=SessionOptions(seed=seed, every_step=every_step),
            device="cpu",
        )
        return replay(request, keep)
