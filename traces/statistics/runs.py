"""How many times each value of a sorted stream occurs in a row, without keeping the values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class RunLengths:
    """Follows a sorted stream of int64 that arrives in pieces; memory does not grow.

    Arrival times give ties; arrival times divided by a window give the requests of each window.

    Attributes:
        distinct: different values so far.
        longest: occurrences of the most frequent value, 0 when there is none.
    """

    def __init__(self) -> None:
        self.distinct = 0
        self.longest = 0
        self._count = 0
        self._squares = 0
        self._first = 0
        self._last = 0
        self._last_run = 0

    def add(self, values: npt.NDArray[np.int64]) -> None:
        """Go on with sorted values of shape (n,), none smaller than the last one before."""
        if not values.size:
            return
        starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
        runs = np.diff(np.concatenate((starts, [values.size])))
        if self._count and values[0] == self._last:
            # The first run goes on where the last one of the former piece ended.
            self._squares -= self._last_run**2
            self.distinct -= 1
            runs[0] += self._last_run
        if not self._count:
            self._first = int(values[0])
        self.distinct += runs.size
        self.longest = max(self.longest, int(runs.max()))
        self._squares += int((runs * runs).sum())
        self._count += values.size
        self._last = int(values[-1])
        self._last_run = int(runs[-1])

    def dispersion(self) -> float | None:
        """Return variance / mean of the occurrences per value from the first to the last value.

        Values in between that never occur count as 0 occurrences. 1 for Poisson arrivals counted
        in windows, more for bursts, 0 for perfectly even ones; None when there are no values.
        """
        if not self._count:
            return None
        windows = self._last - self._first + 1
        mean = self._count / windows
        return (self._squares / windows - mean**2) / mean
