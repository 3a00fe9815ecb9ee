"""What is asked of a shrink, and whether the recording has it: known before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.errors import ShrinkError
from replay.recording.reader import Recording
from replay.run.origin import find_trace
from replay.shrink.outcome import Outcome, outcome_of
from replay.verdict.judge import judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long to search at most; None is as long as it takes."""

    replays: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkOptions:
    """What a user asks of a shrink.

    Attributes:
        same_gap: whether the numbers of the mismatch stay exactly as they are.
        because_of: bugs without which the case must come to something else.
        budget: when to stop with the best so far.
        trace: where the trace is now, if not where it was.
        restart: whether to throw away what an earlier shrink has found.
    """

    same_gap: bool = False
    because_of: tuple[str, ...] = ()
    budget: Budget = field(default_factory=Budget)
    trace: str | None = None
    restart: bool = False


def open_recording(directory: Path) -> Recording:
    """A recording, or the one in the folder `recording` of what `reproduce` or `shrink` wrote.

    Raises:
        RecordingError: there is none.
    """
    inner = directory / "recording"
    if not (directory / "run.json").exists() and (inner / "run.json").exists():
        return Recording.open(inner)
    return Recording.open(directory)


def check_asked(recording: Recording, options: ShrinkOptions) -> None:
    """Make sure that there is something to shrink, and something to replay.

    Raises:
        ShrinkError: the recording has nothing that could be kept.
        RecordingError: it is damaged, or its trace is gone.
    """
    wanted_of(recording, judge(recording).summary, options.same_gap)
    with find_trace(recording, None if options.trace is None else Path(options.trace)):
        pass


def wanted_of(recording: Recording, summary: dict[str, Any], same_gap: bool) -> Outcome:
    """What of a recording is to be kept."""
    if summary["verdict"] == "clean":
        raise ShrinkError(
            f"{recording.directory}: its verdict is clean, so there is nothing to shrink; shrink "
            "takes what went wrong"
        )
    wanted = outcome_of(summary, recording.run, same_gap)
    if wanted is None:
        raise ShrinkError(
            f"{recording.directory}: cannot be shrunk: {summary['why']}; a replay that says nothing "
            "of the engine says nothing when it is smaller"
        )
    if same_gap and wanted.numbers is None:
        raise ShrinkError(
            f"{recording.directory}: --same-gap keeps the numbers of a gap, and it has none: "
            f"{summary['why']}"
        )
    return wanted
