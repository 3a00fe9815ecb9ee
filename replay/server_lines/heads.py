"""Where a line stands: its place, from its own head and from what came before it in the log."""

from __future__ import annotations

from dataclasses import dataclass

from replay.server_lines.lines import Line, instance_of, plain_head, rank_of
from replay.server_lines.records import Place
from replay.server_lines.times import LogClock, Stamp


@dataclass(frozen=True, slots=True)
class Head:
    """What a line's head says, and when it was written.

    Attributes:
        stamp: its own time; None where it has none.
        time_s: that time, or the time of the last line before it that has one.
        rank: as tagged; empty where untagged.
    """

    source: str
    number: int
    stamp: Stamp | None
    time_s: float | None
    rank: str
    instance: str

    def place(self, engine: str, rank_said: str = "") -> Place:
        """The place of this line, for an engine and the rank that its message names."""
        return Place(
            source=self.source,
            line=self.number,
            time_s=self.time_s,
            time=None if self.stamp is None else self.stamp.time,
            rank=self.rank or rank_said,
            engine=engine,
            instance=self.instance,
        )


class HeadReader:
    """Reads the heads of one log's lines, in order."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._clock = LogClock()
        self._last_s: float | None = None

    def read(self, line: Line) -> Head:
        """The head of the next line."""
        plain = None if line.outer_time else plain_head(line)
        if plain is not None:
            stamp = self._clock.read(plain[0])
            self._last_s = self._last_s if stamp is None else stamp.time_s
            return Head(self._source, line.number, stamp, self._last_s, plain[1], "")
        stamp = self._clock.read(line.outer_time or line.head)
        if stamp is not None:
            self._last_s = stamp.time_s
        return Head(
            self._source, line.number, stamp, self._last_s, rank_of(line), instance_of(line)
        )
