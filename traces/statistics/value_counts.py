"""Frequencies of values in bounded memory: quantiles, distances, and runs of equal values."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt

#: Distinct values that are counted individually; beyond that, values with equal leading bits are
#: counted together.
DISTINCT_MAX = 2**20

#: Largest relative error of a value counted together with its neighbours.
RELATIVE_ERROR_MAX = 2.0**-11

_LEADING_BITS = 11
_PENDING_VALUES = 2**17
_POWERS_OF_TWO = np.int64(1) << np.arange(63, dtype=np.int64)
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

_Integers = npt.NDArray[np.int64]


class Spread(TypedDict):
    """The distribution of a column; None if it has no values."""

    min: int | None
    p50: float | None
    p90: float | None
    p99: float | None
    max: int | None
    mean: float | None


class ValueCounts:
    """Counts of non-negative int64 values, exact for up to `DISTINCT_MAX` different values.

    Beyond that, a value represents its neighbours with a relative error of at most
    `RELATIVE_ERROR_MAX`; minimum, maximum and mean stay exact.

    Attributes:
        count: values added.
        is_exact: whether every value is still counted individually.
    """

    def __init__(self) -> None:
        self.count = 0
        self.is_exact = True
        self._sum = 0
        self._min: int | None = None
        self._max: int | None = None
        self._values: _Integers = np.empty(0, np.int64)
        self._counts: _Integers = np.empty(0, np.int64)
        self._pending: list[_Integers] = []
        self._pending_values = 0

    def add(self, values: npt.NDArray[np.integer]) -> None:
        """Count more values, an array of shape (n,)."""
        if not values.size:
            return
        fresh = values.astype(np.int64)
        low, high = int(fresh.min()), int(fresh.max())
        self._min = low if self._min is None else min(self._min, low)
        self._max = high if self._max is None else max(self._max, high)
        # In two halves, because a few large values would overflow 64 bits.
        self._sum += (int((fresh >> 32).sum()) << 32) + int((fresh & 0xFFFFFFFF).sum())
        self.count += fresh.size
        self._pending.append(fresh)
        self._pending_values += fresh.size
        # Merging costs as much as all known values, so wait until there are enough new ones.
        if self._pending_values > max(_PENDING_VALUES, self._values.size // 2):
            self._merge()

    def spread(self) -> Spread:
        """Return minimum, quantiles (interpolated linearly between two values), maximum and mean."""
        if self._min is None or self._max is None:
            return Spread(min=None, p50=None, p90=None, p99=None, max=None, mean=None)
        values, counts = self.table()
        ends = np.cumsum(counts)
        quantiles = {}
        for name, share in _QUANTILES.items():
            place = share * (self.count - 1)
            ranks = np.array([np.floor(place), np.ceil(place)])
            below, above = values[np.searchsorted(ends, ranks, side="right")].tolist()
            value = below + (above - below) * (place - ranks[0])
            quantiles[name] = float(min(max(value, self._min), self._max))
        return Spread(
            min=self._min,
            p50=quantiles["p50"],
            p90=quantiles["p90"],
            p99=quantiles["p99"],
            max=self._max,
            mean=self._sum / self.count,
        )

    def table(self) -> tuple[_Integers, _Integers]:
        """Return the different values, ascending, and how often each occurred."""
        self._merge()
        return self._values, self._counts

    def _merge(self) -> None:
        if self._pending:
            fresh = np.concatenate(self._pending)
            self._pending, self._pending_values = [], 0
            if not self.is_exact:
                fresh = _coarse(fresh)
            values, counts = np.unique(fresh, return_counts=True)
            self._values, self._counts = _add_up(
                np.concatenate((self._values, values)), np.concatenate((self._counts, counts))
            )
        if self.is_exact and self._values.size > DISTINCT_MAX:
            self.is_exact = False
            self._values, self._counts = _add_up(_coarse(self._values), self._counts)


def kolmogorov_smirnov(one: ValueCounts, other: ValueCounts) -> float | None:
    """Return the largest difference of two distribution functions, 0 to 1; None if one is empty.

    The result is exact if both counts are: the functions only step at values that occur, so the
    largest difference is right after one of them. If one of the two is not exact, only the leading
    bits of the values are compared.
    """
    if not one.count or not other.count:
        return None
    tables = [one.table(), other.table()]
    if not (one.is_exact and other.is_exact):
        tables = [_add_up(_coarse(values), counts) for values, counts in tables]
    places = np.union1d(tables[0][0], tables[1][0])
    below = []
    for values, counts in tables:
        ends = np.concatenate(([0], np.cumsum(counts)))
        below.append(ends[np.searchsorted(values, places, side="right")])
    # Whole numbers until the last division: equal distributions differ by exactly 0.
    widest = np.abs(below[0] * other.count - below[1] * one.count).max()
    return int(widest) / (one.count * other.count)


def _coarse(values: _Integers) -> _Integers:
    """Replace each value by the middle of all values that share its leading bits."""
    lengths = np.searchsorted(_POWERS_OF_TWO, values, side="right")
    shifts = np.maximum(lengths - _LEADING_BITS, 0)
    return (values >> shifts << shifts) + (np.int64(1) << shifts >> 1)


def _add_up(values: _Integers, counts: _Integers) -> tuple[_Integers, _Integers]:
    """Sort values and add the counts of equal ones."""
    if not values.size:
        return values, counts
    order = np.argsort(values, kind="stable")
    values = values[order]
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return values[starts], np.add.reduceat(counts[order], starts)


class RunLengths:
    """Counts runs in a sorted stream of int64, given in pieces; memory does not grow.

    Applied to arrival times, it counts ties; applied to arrival times divided by a window, the
    requests in each window.

    Attributes:
        distinct: different values so far.
        longest: occurrences of the most frequent value, 0 if there is none.
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
        """Add sorted values of shape (n,), none smaller than the last one added before."""
        if not values.size:
            return
        starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
        runs = np.diff(np.concatenate((starts, [values.size])))
        if self._count and values[0] == self._last:
            # The first run continues the last run of the previous piece.
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

        Values in between that never occur count as 0 occurrences. The result is 1 for Poisson
        arrivals counted in windows, more for bursts, 0 for perfectly even arrivals, and None
        without values.
        """
        if not self._count:
            return None
        windows = self._last - self._first + 1
        mean = self._count / windows
        return (self._squares / windows - mean**2) / mean
