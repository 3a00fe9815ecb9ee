"""A gap over the quiet checks since it opened: whether it stays, grows or goes.

check   ok   gap   gap   gap   ok
             |--- a run ---|   closed
"""

from __future__ import annotations

from dataclasses import dataclass

from replay.diagnosis.reading.sources import family_of
from replay.server_lines.records import Place

#: Two equal checks closer than this say no more than one: an idle engine checks in every turn.
CHECK_SPACING_S_MIN = 1.0


@dataclass(slots=True)
class GapRun:
    """The gap at quiet checks (below zero: too many tokens) since it was last zero."""

    #: Checks with a gap since it opened; equal ones without time between them count as one.
    checks: int = 0
    #: Lines behind those checks.
    lines: int = 0
    opened: Place | None = None
    last_place: Place | None = None
    first: float = 0.0
    last: float = 0.0
    #: Widest, without sign.
    widest: float = 0.0
    falls: int = 0
    #: Checks since it last fell, the one that showed the fall included.
    checks_since_fall: int = 0
    #: How often a gap went, and where it last did.
    closed: int = 0
    closed_at: Place | None = None
    #: Widest gap that went.
    widest_closed: float = 0.0
    #: Most checks that showed a gap that went.
    checks_closed: int = 0
    #: Checks without a gap.
    clean_checks: int = 0
    _worked: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the last check showed a gap."""
        return self.checks > 0

    @property
    def span_s(self) -> float | None:
        """Seconds from the first check of the run to the last; None where lines have no time."""
        return seconds_between(self.opened, self.last_place)

    def note_work(self) -> None:
        """The engine did something: an equal gap afterwards is another check."""
        self._worked = True

    def add(self, value: float, place: Place) -> None:
        """Take what a quiet check shows; zero closes the run."""
        if not value:
            self.clean_checks += 1
            self.close(place)
            return
        self.lines += 1
        if self.is_open and not self._is_another(value, place):
            return
        size = abs(value)
        if not self.is_open:
            self.opened, self.first = place, value
        if size < abs(self.last):
            self.falls += 1
            self.checks_since_fall = 1
        else:
            self.checks_since_fall += 1
        self.checks += 1
        self.last, self.last_place = value, place
        self.widest = max(self.widest, size)
        self._worked = False

    def close(self, place: Place) -> None:
        """The gap is known to have gone."""
        if self.is_open:
            self.closed += 1
            self.closed_at = place
            self.checks_closed = max(self.checks_closed, self.checks)
            self.widest_closed = max(self.widest_closed, self.widest)
        self.forget()

    def forget(self) -> None:
        """Whether the gap went is not known, but the next one may be another."""
        self.checks = self.lines = self.falls = self.checks_since_fall = 0
        self.opened = self.last_place = None
        self.first = self.last = self.widest = 0.0
        self._worked = False

    def _is_another(self, value: float, place: Place) -> bool:
        if value != self.last or self._worked or self.last_place is None:
            return True
        passed_s = seconds_between(self.last_place, place)
        # Without times these may be the same moment in the words of several processes.
        return passed_s is not None and passed_s >= CHECK_SPACING_S_MIN


def seconds_between(start: Place | None, end: Place | None) -> float | None:
    """Seconds from one place to another; None where that cannot be known."""
    if start is None or end is None or start.time_s is None or end.time_s is None:
        return None
    if (family_of(start.source), start.instance) != (family_of(end.source), end.instance):
        return None
    return end.time_s - start.time_s
