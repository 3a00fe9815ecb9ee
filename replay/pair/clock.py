"""Virtual time: one queue of things to happen, in integer microseconds, and nothing else.

Events are ordered by (time, priority, sequence), so that equal times have one order on every
machine. An event is *work* when a healthy pair has it ahead of it anyway (an arrival, an iteration,
bytes that land); what only a fault or a timer brings about is not. When no work is left, nothing
healthy can happen any more: that is how a replay knows that its inject phase is over.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import IntEnum

from replay.errors import BoundExceededError, ClockError

#: Columns of times are int64; this leaves room for what is reckoned from a time of the clock.
TIME_US_MAX = 2**63 - 2**60
#: Iterations of one instance at one instant; more means a loop that does not advance time.
_EVENTS_AT_ONE_INSTANT_MAX = 5_000_000


class Priority(IntEnum):
    """Who goes first at equal times: what arrives, then what it made overdue, then the engines."""

    DELIVERY = 0
    HARNESS = 1
    ENGINE = 2


class Timer:
    """A scheduled event; `Clock.cancel` takes it back."""

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
        """Have `action` called at `at_us`, which must not lie in the past.

        Raises:
            ClockError: it lies so far ahead that it cannot be written down.
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
        """Take an event back; it leaves no trace in time."""
        if timer.action is not None:
            timer.action = None
            self.pending_work -= timer.is_work

    def run_next(self, until_us: int | None = None) -> bool:
        """Run the next event not later than `until_us`; False when there is none."""
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
        """Whether anything is still scheduled."""
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
