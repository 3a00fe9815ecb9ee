"""A scheduler that died of something else than its accounting check."""

from __future__ import annotations

from dataclasses import dataclass, field

from replay.diagnosis.judging.assessment import Assessment, unclear
from replay.diagnosis.judging.bounded_history import BoundedHistory
from replay.server_lines.records import Crash


def _message(crash: Crash) -> object:
    return crash.message


@dataclass(slots=True)
class CrashWatch:
    """The crashes of one server."""

    engine: str
    kept: BoundedHistory[Crash] = field(default_factory=lambda: BoundedHistory(_message))
    last: Crash | None = None
    #: Deaths with signs of life between them; several lines may report one death.
    deaths: int = 0
    _is_dead: bool = False

    def add(self, crash: Crash) -> None:
        """Take the next line."""
        self.kept.add(crash)
        self.last = crash
        self.deaths += not self._is_dead
        self._is_dead = True

    def note_life(self) -> None:
        """It works again."""
        self._is_dead = False


def judge_crashes(watch: CrashWatch) -> Assessment | None:
    """The cause of death; no check shows whether pages were lost then."""
    last = watch.last
    if last is None:
        return None
    times = "" if watch.deaths < 2 else f" {watch.deaths} times"
    return unclear(
        "crash",
        f"{watch.engine}: the engine died{times} (line {last.place.line}): {last.message}; "
        "no check looked at the pool afterwards",
        (
            "diagnose the lines of both sides before the crash: a transfer that failed, timed out "
            "or was completed twice names the request",
            "replay it: `kvreplay run TRACE --profile P --duplicate 0.01` and `--delay` show which "
            "late or duplicate completion crashes an engine this way",
        ),
    )
