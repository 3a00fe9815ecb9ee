"""Whether the number of requests in transfer ever gets back to what it was.

A transfer whose completion is lost stays in the queue: from then on the number never falls below
one, then below two. Between the lines of a busy server it is above zero as well, but it comes down
now and then; so what is kept is, for each level, since when the number has not been below it.

    #transfer-req   0 3 1 0 2 1 4 1 1 2 1     level 1 since the sixth line, on five lines exactly it
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replay.diagnosis.judging.assessment import Assessment, unclear
from replay.diagnosis.judging.gap_run import seconds_between
from replay.diagnosis.judging.next_steps import steps_for_load
from replay.server_lines.records import Load, Place

#: Levels kept at once; a queue of more requests than this is one of a loaded server.
_LEVELS_MAX = 256


@dataclass(slots=True)
class Level:
    """Lines since the number was last below this one."""

    requests: int
    since: Place
    last: Place
    lines: int = 1
    #: Lines with exactly this number.
    at: int = 1


@dataclass(slots=True)
class TransferFloor:
    """Since when the number of transfers has not been below each level."""

    #: Lines on which nothing was in transfer.
    at_zero: int = 0
    last_zero: Place | None = None
    #: Times between lines with nothing in transfer, from the first other line to the last.
    stretches: int = 0
    stretches_s: float = 0.0
    longest_s: float = 0.0
    longest_end: Place | None = None
    levels: list[Level] = field(default_factory=list)
    _busy_from: Place | None = None
    _busy_to: Place | None = None

    @property
    def mean_other_s(self) -> float:
        """Mean of the stretches without the longest."""
        return (self.stretches_s - self.longest_s) / max(1, self.stretches - 1)

    def forget_levels(self) -> None:
        """A transfer has ended otherwise: what was never below a level may be below it now."""
        self.levels = []

    def add(self, load: Load) -> None:
        """Take the next line; lines that do not say how many are in transfer are passed over."""
        requests = in_transfer(load)
        if requests is None:
            return
        while self.levels and self.levels[-1].requests > requests:
            self.levels.pop()
        for level in self.levels:
            level.lines += 1
            level.last = load.place
            level.at += level.requests == requests
        if requests == 0:
            self._note_zero(load.place)
            return
        self._busy_from = self._busy_from or load.place
        self._busy_to = load.place
        if len(self.levels) < _LEVELS_MAX and (
            not self.levels or self.levels[-1].requests < requests
        ):
            self.levels.append(Level(requests, load.place, load.place))

    def _note_zero(self, place: Place) -> None:
        passed_s = seconds_between(self._busy_from, self._busy_to)
        if passed_s is not None:
            self.stretches += 1
            self.stretches_s += passed_s
            if passed_s > self.longest_s:
                self.longest_s, self.longest_end = passed_s, place
        self.at_zero += 1
        self.last_zero = place
        self._busy_from = self._busy_to = None


def in_transfer(load: Load) -> int | None:
    """Requests whose KV has not arrived (decode) or is not acknowledged (prefill); None if unknown."""
    if load.transferring is not None:
        return load.transferring
    if load.inflight is not None:
        return load.inflight
    if load.preallocated_usage is not None:
        # Versions that print no number print the share of the pool, in whole percent.
        return round(load.preallocated_usage * 100)
    return None


#: Lines at exactly the level, and their share of all lines since.
_LINES_AT_MIN = 3
_SHARE_AT_MIN = 0.2
#: How much longer than any time that the queue was busy before, in time.
_TIMES_LONGER = 3.0
_LASTS_S_MIN = 30.0
#: A stretch that ended was late if it was this long, and this many times the mean of the others.
_LATE_S_MIN = 10.0
_LATE_TIMES = 5.0
_STRETCHES_MIN = 4


def judge_floor(floor: TransferFloor, who: str, engine: str) -> Assessment | None:
    """The assessment of the lowest level that the queue has not been below; None if it is zero."""
    if not floor.levels:
        return None
    level = floor.levels[0]
    if level.lines < _LINES_AT_MIN:
        return None
    lasted_s = seconds_between(level.since, level.last)
    told = (
        f"{who}: since line {level.since.line} never fewer than {level.requests} in transfer, on "
        f"{level.lines} lines, {level.at} of them exactly that"
    )
    if lasted_s is not None:
        told += f", for {lasted_s:.0f} s"
    if _is_stuck(floor, level, lasted_s):
        return Assessment(
            verdict="persistent",
            kind="hang",
            growth="unknown",
            why=f"{told}; before, the queue was empty on {floor.at_zero} lines and busy for "
            f"{floor.longest_s:.0f} s at most: their completions are lost",
        )
    return unclear("hang", f"{told}; a busy server would look the same", steps_for_load(engine))


def _is_stuck(floor: TransferFloor, level: Level, lasted_s: float | None) -> bool:
    if level.at < _LINES_AT_MIN or level.at < _SHARE_AT_MIN * level.lines:
        return False
    if not floor.at_zero or lasted_s is None:
        return False
    return lasted_s > max(_LASTS_S_MIN, _TIMES_LONGER * floor.longest_s)


def judge_late(floor: TransferFloor, who: str) -> Assessment | None:
    """Transfers that came much later than the others, and did come."""
    if floor.stretches < _STRETCHES_MIN or floor.longest_s < _LATE_S_MIN:
        return None
    if floor.longest_s < _LATE_TIMES * floor.mean_other_s or floor.longest_end is None:
        return None
    return Assessment(
        verdict="transient",
        kind="held",
        why=f"{who}: transfers took {floor.longest_s:.0f} s, where "
        f"{floor.mean_other_s:.1f} s is usual here, and had finished by line "
        f"{floor.longest_end.line}",
    )
