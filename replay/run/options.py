"""The options of one replay, as in `kvreplay run`, as a value.

    command line of `run` --+
    one cell of a matrix ---+--> RunOptions --to_request--> ReplayRequest --> replay
                                    |
                                    +--command_line--> the command that repeats it

The command contains everything that the replay depends on, so running it gives the same recording.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.catalogue import open_plan
from faults.plan import combine, shortcut_plan
from faults.rule import FaultPlan
from replay.profiles.catalogue import find_profile
from replay.profiles.defects import with_defects
from replay.profiles.overrides import override
from replay.profiles.profile import EngineProfile
from replay.run.swarm import draw_swarm

if TYPE_CHECKING:
    from replay.run.replay_once import ReplayRequest

HEAL_BUDGET_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """One replay as requested by a user."""

    #: A trace file, or `FILE#NAME`: the table [trace.NAME] of a matrix file.
    trace: str
    #: Name of a built-in engine profile.
    profile: str
    defects: tuple[str, ...] = ()
    #: Profile fields set from text, in the order given.
    settings: tuple[tuple[str, str], ...] = ()
    #: A plan file, `builtin:NAME`, `FILE#NAME` (the table [plan.NAME] of a matrix file), or None.
    plan: str | None = None
    drop: float | None = None
    #: Probability and milliseconds.
    delay: tuple[float, float] | None = None
    duplicate: float | None = None
    seed: int = 0
    repeat: int = 0
    #: Virtual seconds.
    heal_budget_s: float = HEAL_BUDGET_S
    every_step: bool = False
    stop_on_engine_error: bool = False
    #: Whether the seed draws a topology and more faults, see `replay.run.swarm`.
    swarm: bool = False

    def to_request(
        self,
        device: str = "auto",
        *,
        trace_path: Path | None = None,
        plan: FaultPlan | None = None,
    ) -> ReplayRequest:
        """Open and check all inputs.

        Args:
            device: the device of the pools.
            trace_path: the file with the trace, if it differs from the trace's name.
            plan: the plan, if it has been read already.

        Raises:
            TraceError: the trace cannot be read.
            PlanError: the plan or a shortcut is wrong.
            ProfileError: the profile, a defect or a setting is unknown or inconsistent.
        """
        from traces.dataset import open_trace

        profile, plan = self.make_profile(), plan or self.make_plan()
        trace = open_trace(trace_path or Path(self.trace))
        swarm = None
        if self.swarm:
            # Settings override drawn values.
            fixed = [name for name, _ in self.settings]
            swarm = draw_swarm(self.seed, profile, trace.request_count, fixed)
            profile = dataclasses.replace(profile, **swarm.settings)  # type: ignore[arg-type]
            plan = combine(plan, swarm.plan)
        # These import torch, which takes seconds and is not needed for bad input.
        from replay.run.replay_once import ReplayRequest
        from replay.run.session import SessionOptions

        return ReplayRequest(
            trace=trace,
            trace_name=self.trace,
            swarm=swarm,
            profile=profile,
            plan=plan,
            options=SessionOptions(
                seed=self.seed,
                repeats=self.repeat,
                heal_budget_us=round(self.heal_budget_s * 1e6),
                every_step=self.every_step,
                stop_on_engine_error=self.stop_on_engine_error,
            ),
            device=device,
            reproduce=self.command_line(),
        )

    def replay_in(
        self, folder: Path, device: str, progress: Callable[[int], None] | None = None
    ) -> dict[str, Any]:
        """Replay trace.parquet and plan.toml of a working folder, under their final names.

        Write the recording beside them, and return its summary. Raises like `to_request`.
        """
        from replay.run.replay_once import replay

        plan = None
        if self.plan is not None:
            plan = dataclasses.replace(open_plan(str(folder / "plan.toml")), source=self.plan)
        request = self.to_request(device, trace_path=folder / "trace.parquet", plan=plan)
        return replay(request, folder / "recording", progress)

    def make_profile(self) -> EngineProfile:
        """Return the profile with its defects and settings."""
        return _make_profile(self.profile, self.defects, self.settings)

    def make_plan(self) -> FaultPlan:
        """Return the rules of the plan and of the shortcuts."""
        from replay.run.references import referenced_plan

        shortcuts = shortcut_plan(self.drop, self.delay, self.duplicate)
        return shortcuts if self.plan is None else combine(referenced_plan(self.plan), shortcuts)

    def command_line(self) -> str:
        """Return the shell command for this replay."""
        words: list[str] = ["kvreplay", "run", self.trace, "--profile", self.profile]
        for defect in self.defects:
            words += ["--defect", defect]
        for field, value in self.settings:
            words += ["--set", f"{field}={value}"]
        words += ["--plan", self.plan] if self.plan is not None else []
        words += ["--drop", _number(self.drop)] if self.drop is not None else []
        if self.delay is not None:
            words += ["--delay", f"{_number(self.delay[0])}:{_number(self.delay[1])}"]
        words += ["--duplicate", _number(self.duplicate)] if self.duplicate is not None else []
        words += ["--swarm"] if self.swarm else []
        words += ["--seed", str(self.seed)]
        words += ["--repeat", str(self.repeat)] if self.repeat else []
        if self.heal_budget_s != HEAL_BUDGET_S:
            words += ["--heal-budget", _number(self.heal_budget_s)]
        words += ["--audit", "every-step"] if self.every_step else []
        words += ["--stop-on-engine-error"] if self.stop_on_engine_error else []
        return shlex.join(words)


@lru_cache(maxsize=64)
def _make_profile(
    name: str, defects: tuple[str, ...], settings: tuple[tuple[str, str], ...]
) -> EngineProfile:
    """Cached, because a profile depends only on these values and many cells of a matrix share it."""
    return override(with_defects(find_profile(name), defects), dict(settings))


def _number(value: float) -> str:
    """Format a number as a person would type it, without losing digits."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
