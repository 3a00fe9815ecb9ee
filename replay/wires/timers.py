"""Timers of transfers, and what they say about the future: who can still be moved on by something.

All waits of one kind last equally long, so they end in the order in which they began: one queue and
one timer a kind, whatever the number of requests that wait.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from replay.pair.clock import Clock, Priority
from replay.pair.request import Request


class Outlook:
    """Requests that something under way could still move on, by ordinal."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: Counter[int] = Counter()

    def expect(self, request: Request) -> None:
        """Something that concerns the request has been set going."""
        self._pending[request.ordinal] += 1

    def settle(self, request: Request) -> None:
        """It has happened, or cannot happen any more."""
        self._pending[request.ordinal] -= 1
        if self._pending[request.ordinal] == 0:
            del self._pending[request.ordinal]

    @property
    def is_anything_pending(self) -> bool:
        """Whether anything is under way for anybody."""
        return bool(self._pending)

    def can_progress(self, ordinal: int) -> bool:
        """Whether anything is still under way for this request."""
        return self._pending[ordinal] > 0


class TimeoutQueue:
    """Requests that wait for the same thing, each for the same time.

    Args:
        timeout_us: how long each waits; None waits for ever, and the queue stays empty.
        still_waits: whether the timeout still concerns a request.
        expire: what happens to one that has waited too long; returns True to let it wait again.
    """

    def __init__(
        self,
        clock: Clock,
        outlook: Outlook,
        timeout_us: int | None,
        still_waits: Callable[[Request], bool],
        expire: Callable[[Request], bool],
    ) -> None:
        self._clock = clock
        self._outlook = outlook
        self._timeout_us = timeout_us
        self._still_waits = still_waits
        self._expire = expire
        self._waiting: deque[tuple[int, Request]] = deque()
        self._is_armed = False

    def watch(self, request: Request) -> None:
        """Start the request's wait."""
        if self._timeout_us is None:
            return
        self._drop_those_done()
        self._outlook.expect(request)
        self._waiting.append((self._clock.now_us + self._timeout_us, request))
        if not self._is_armed:
            self._arm()

    def forget_those_done(self) -> None:
        """Let go of every request that waits for nothing any more; O(queue)."""
        still = [entry for entry in self._waiting if self._still_waits(entry[1])]
        for _, request in self._waiting:
            if not self._still_waits(request):
                self._outlook.settle(request)
        self._waiting = deque(still)

    def _drop_those_done(self) -> None:
        """Let go of the first in the queue as long as they wait for nothing any more."""
        while self._waiting and not self._still_waits(self._waiting[0][1]):
            self._outlook.settle(self._waiting.popleft()[1])

    def _arm(self) -> None:
        """Set the one timer, for whoever is first now; who comes first later has longer to wait."""
        self._is_armed = True
        self._clock.schedule(self._waiting[0][0], Priority.HARNESS, self._fire, is_work=False)

    def _fire(self) -> None:
        self._is_armed = False
        self._drop_those_done()
        while self._waiting and self._waiting[0][0] <= self._clock.now_us:
            _, request = self._waiting.popleft()
            self._outlook.settle(request)
            if self._still_waits(request) and self._expire(request):
                self.watch(request)
        if self._waiting and not self._is_armed:
            self._arm()
