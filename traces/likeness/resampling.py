"""Draw new arrivals and new values that follow those of a sample without repeating it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_Integers = npt.NDArray[np.int64]

#: Moments (requests that arrive together) copied in one go: long enough to keep bursts, short
#: enough that a source of a few hundred moments is mixed.
MOMENTS_MAX = 256
_BLOCKS_MIN = 16

#: A row comes later by up to this share of all rows.
SHUFFLE_SHARE = 1.0 / 32

#: A drawn value moves by up to this share of all ranks.
RANK_JITTER = 1.0 / 512


class BlockArrivals:
    """An endless sequence of gaps between arrivals, made of blocks of a source's own gaps.

    Block number b starts where the source was after as many moments, give or take a block. So
    every part of the source is used equally often, its rate over time comes back cycle after cycle,
    and bursts and ties shorter than a block stay what they were (a moving-block bootstrap).
    """

    def __init__(
        self, gaps_us: _Integers, source_count: int, generator: np.random.Generator
    ) -> None:
        """Take the source's gaps.

        Args:
            gaps_us: gap before each sampled request, shape (n,); the first one is > 0 unless all
                are 0.
            source_count: requests of the whole source, of which the gaps may be a sample.
            generator: where chance comes from.
        """
        self._gaps_us = gaps_us
        self._generator = generator
        #: First row of every moment, and the end; all rows are one moment if nothing ever waits.
        self._starts = np.append(np.flatnonzero(gaps_us) if gaps_us.any() else 0, gaps_us.size)
        self._moments = self._starts.size - 1
        self._block_moments = min(max(self._moments // _BLOCKS_MIN, 1), MOMENTS_MAX)
        # A sampled part of the source stands for its neighbours and lasts as long as they did.
        self._moments_step = self._block_moments * gaps_us.size / source_count
        self._block = 0
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> _Integers:
        """Return the next `count` gaps in microseconds, the one before the first request included."""
        pieces, size = [self._left], self._left.size
        while size < count:
            pieces.extend(self._next_block())
            size += pieces[-1].size + pieces[-2].size
        gaps_us = np.concatenate(pieces)
        self._left = gaps_us[count:]
        return gaps_us[:count]

    def _next_block(self) -> tuple[_Integers, _Integers]:
        """Return the gaps of one block in two slices, the second one past the source's end."""
        length, starts = self._block_moments, self._starts
        jitter = int(self._generator.integers(-length, length + 1))
        first = (int(self._block * self._moments_step) + jitter) % self._moments
        self._block += 1
        past = max(first + length - self._moments, 0)
        head = self._gaps_us[starts[first] : starts[first + length - past]]
        return head, self._gaps_us[: starts[past]]


class ShuffledRows:
    """An endless sequence of row numbers: all rows about in order, then again in another one.

    A few cycles have the same shares as the sample itself, unlike rows drawn one by one; and a row
    that goes on with others comes when there are such, as in the source.
    """

    def __init__(self, row_count: int, generator: np.random.Generator) -> None:
        """Draw from rows 0 to `row_count` - 1."""
        self._row_count = row_count
        self._generator = generator
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> _Integers:
        """Return the next `count` row numbers."""
        pieces, size = [self._left], self._left.size
        while size < count:
            delays = self._generator.uniform(0.0, SHUFFLE_SHARE * self._row_count, self._row_count)
            pieces.append(np.argsort(np.arange(self._row_count) + delays))
            size += self._row_count
        rows = np.concatenate(pieces)
        self._left = rows[count:]
        return rows[:count]


class RankJitter:
    """Values near those of given rows of a sample, by rank, with the sample's distribution.

    Neighbours in rank are close in value, so a row keeps what its columns have to do with each
    other; values that many rows share stay what they are.
    """

    def __init__(self, values: _Integers) -> None:
        """Rank a sample of shape (n,), n >= 1."""
        self._ordered = np.sort(values)
        self._below = np.searchsorted(self._ordered, values, side="left")
        self._ties = np.searchsorted(self._ordered, values, side="right") - self._below

    def draw(self, rows: _Integers, generator: np.random.Generator) -> _Integers:
        """Return a value for each of the rows, integers of shape (m,)."""
        size = self._ordered.size
        # Anywhere among the equal ones, then a little aside, turning back at both ends: that
        # leaves the ranks of evenly drawn rows evenly spread.
        ranks = self._below[rows] + self._ties[rows] * generator.random(rows.size)
        ranks += size * RANK_JITTER * generator.uniform(-1.0, 1.0, rows.size)
        ranks = size - np.abs(size - np.abs(ranks))
        values = np.interp(ranks - 0.5, np.arange(size), self._ordered)
        drawn: _Integers = np.rint(values).astype(np.int64)
        return drawn
