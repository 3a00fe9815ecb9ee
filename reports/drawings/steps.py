"""Step series for charts: a value that holds from one audit to the next, reduced to what a
screen can show without losing an extreme.

A series of any length becomes at most four points for each pixel column (the first, the lowest, the
highest and the last of its bucket, in the order of time), which draws the same pixels as all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

#: Points that a reduced series keeps for each pixel column.
POINTS_PER_COLUMN = 4

#: No windows: the envelope is everywhere.
NO_WINDOWS: Integers = np.empty((0, 2), np.int64)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of virtual time with a name, which the whole replay has none of."""

    name: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Steps:
    """A step function: `value[i]` holds from `time_us[i]` to the next; times never decrease."""

    time_us: Integers
    value: Integers

    def __len__(self) -> int:
        return len(self.time_us)

    def extremes(self) -> tuple[int, int]:
        """The lowest and the highest value; 0 and 0 of an empty series."""
        if not len(self):
            return 0, 0
        return int(self.value.min()), int(self.value.max())

    def window(self, start_us: int, end_us: int) -> Steps:
        """The part within a window, starting and ending on its edges."""
        first = int(np.searchsorted(self.time_us, start_us, side="left"))
        if first == len(self) or self.time_us[first] > start_us:
            # Nothing changes at the edge itself: what held before it holds there.
            first -= 1
        last = int(np.searchsorted(self.time_us, end_us, side="right"))
        time_us = self.time_us[max(first, 0) : last].copy()
        value = self.value[max(first, 0) : last]
        if not len(time_us):
            return Steps(time_us, value)
        time_us[0] = max(time_us[0], start_us)
        return Steps(np.append(time_us, end_us), np.append(value, value[-1]))

    def reduce(self, columns: int) -> Steps:
        """At most `POINTS_PER_COLUMN * columns` points with the same extremes and the same ends."""
        return self.around(NO_WINDOWS, columns)

    def around(self, windows: Integers, columns: int) -> Steps:
        """Every change within the windows, and elsewhere no more than an envelope.

        A bucket of the envelope never reaches across the edge of a window, so what holds where a
        window begins is kept too.

        Args:
            windows: rows of (start, end) in microseconds, both within; in order, not overlapping.
            columns: equal stretches that the whole series is cut into.
        """
        steps = self.changes()
        count = len(steps)
        if count <= POINTS_PER_COLUMN * columns:
            return steps
        begun = np.searchsorted(windows[:, 0], steps.time_us, side="right")
        ended = np.searchsorted(windows[:, 1], steps.time_us, side="left")
        span = int(steps.time_us[-1] - steps.time_us[0]) + 1
        column = (steps.time_us - steps.time_us[0]) * columns // span
        # Stretches between edges are even outside windows and odd within, and only go up.
        bucket = (begun + ended) * columns + column
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        ends = np.append(starts[1:], count) - 1
        by_value = np.lexsort((steps.value, bucket))
        envelope = np.concatenate((starts, by_value[starts], by_value[ends], ends))
        kept = np.unique(np.concatenate((np.flatnonzero(begun > ended), envelope)))
        return Steps(steps.time_us[kept], steps.value[kept])

    def changes(self) -> Steps:
        """The series without the points that say what the one before them said, but for the last."""
        if len(self) <= 2:
            return self
        changed = np.diff(self.value, prepend=self.value[0] - 1) != 0
        changed[-1] = True
        return Steps(self.time_us[changed], self.value[changed])


def total_steps(pools: dict[str, Steps]) -> Steps:
    """The sum of several step functions that all start at zero."""
    if not pools:
        return Steps(np.array([], np.int64), np.array([], np.int64))
    time_us = np.concatenate([steps.time_us for steps in pools.values()])
    change = np.concatenate([np.diff(steps.value, prepend=np.int64(0)) for steps in pools.values()])
    order = np.argsort(time_us, kind="stable")
    return Steps(time_us[order], np.cumsum(change[order]))
