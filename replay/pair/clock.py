"""Virtual time: a queue of events, in integer microseconds.

Events are ordered by (time, priority, sequence), so events at equal times have the same order on
every machine. An event is *work* if it would also happen in a run without faults (an arrival, an
iteration, the landing of bytes); events caused only by a fault or a timer are not work. The inject
phase of a replay ends when no work is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import IntEnum

from replay.errors import BoundExceededError, ClockError

#: Columns of times are int64; this leaves room for arithmetic with times of the clock.
TIME_US_MAX = 2**63 - 2**60
#: Maximum number of events at one time; more indicates a loop that does not advance time.
_EVENTS_AT_ONE_INSTANT_MAX = 5_000_000


class Priority(IntEnum):
    """Order at equal times: arrivals, then checks for overdue events, then the engines."""

    DELIVERY = 0
    HARNESS = 1
    ENGINE = 2


class Timer:
    """A scheduled event; `Clock.cancel` cancels it."""

    __slots__ = ("action", "at_us", "is_work", "priority", "sequence")

    def __init__(
        self,
        at_us: int,
        priority: Priority,
        sequence: int,
        action: Callable[[], None],
        is_work: bool,
    ) -> None:
        self.at_us = at_us
        self.priority = priority
        self.sequence = sequence
        self.action: Callable[[], None] | None = action
        self.is_work = is_work


class Clock:
    """The event queue and the current virtual time."""

    def __init__(self) -> None:
        self.now_us = 0
        self.pending_work = 0
        self._sequence = 0
        self._queue: list[tuple[int, int, int, Timer]] = []
        self._at_this_instant = 0

    def schedule(
        self,
        at_us: int,
        priority: Priority,
        action: Callable[[], None],
        *,
        is_work: bool = True,
    ) -> Timer:
        """Schedule `action` at `at_us`, which must not be in the past.

        Raises:
            ClockError: the time is too large for a recording.
        """
        if at_us < self.now_us:
            raise BoundExceededError(f"event at {at_us} us lies before now, {self.now_us} us")
        if at_us > TIME_US_MAX:
            raise ClockError(
                f"the replay comes to a time of {at_us} us, and a recording holds times up to "
                f"{TIME_US_MAX}; make the trace's times, --repeat or the times of the profile smaller"
            )
        self._sequence += 1
        timer = Timer(at_us, priority, self._sequence, action, is_work)
        heapq.heappush(self._queue, (at_us, priority, self._sequence, timer))
        self.pending_work += is_work
        return timer

    def cancel(self, timer: Timer) -> None:
        """Cancel an event; it does not affect the time."""
        if timer.action is not None:
            timer.action = None
            self.pending_work -= timer.is_work

    def run_next(self, until_us: int | None = None) -> bool:
        """Run the next event, if it is not later than `until_us`; return False if there is none."""
        while self._queue:
            at_us, _, _, timer = self._queue[0]
            if timer.action is None:
                heapq.heappop(self._queue)
                continue
            if until_us is not None and at_us > until_us:
                return False
            heapq.heappop(self._queue)
            self._advance_to(at_us)
            action, timer.action = timer.action, None
            self.pending_work -= timer.is_work
            action()
            return True
        return False

    def has_events(self) -> bool:
        """Whether any event is scheduled."""
        while self._queue and self._queue[0][3].action is None:
            heapq.heappop(self._queue)
        return bool(self._queue)

    def _advance_to(self, at_us: int) -> None:
        if at_us > self.now_us:
            self.now_us = at_us
            self._at_this_instant = 0
            return
        self._at_this_instant += 1
        if self._at_this_instant > _EVENTS_AT_ONE_INSTANT_MAX:
            raise BoundExceededError(
                f"{self._at_this_instant} events at {at_us} us, bound {_EVENTS_AT_ONE_INSTANT_MAX}"
            )
