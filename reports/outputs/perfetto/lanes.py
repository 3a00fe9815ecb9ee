"""Intervals laid side by side on as few lanes as they need."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Lanes:
    """Hands out lanes to intervals that come in the order of their start.

    A lane is free again when the interval on it has ended; the first free one is taken, so that there
    are never more lanes than intervals at one moment.
    """

    def __init__(self, make: Callable[[int], int]) -> None:
        """`make` makes lane number n (from 1) and returns its id."""
        self._make = make
        self._ids: list[int] = []
        self._free: list[int] = []
        self._busy: list[tuple[int, int]] = []

    def take(self, start_us: int, end_us: int) -> int:
        """The id of a lane on which nothing lies between start and end."""
        while self._busy and self._busy[0][0] <= start_us:
            heapq.heappush(self._free, heapq.heappop(self._busy)[1])
        if self._free:
            lane = heapq.heappop(self._free)
        else:
            lane = len(self._ids)
            self._ids.append(self._make(lane + 1))
        heapq.heappush(self._busy, (end_us, lane))
        return self._ids[lane]
