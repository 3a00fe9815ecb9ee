"""Draw the numbers of a trace that resembles another: arrivals, lengths, reused blocks, aborts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError
from traces.likeness.fitting import NO_ABORT, Rows, TraceModel
from traces.likeness.options import LikenessOptions

_Integers = npt.NDArray[np.int64]

#: Moments (groups of requests that arrive together) copied in one block: long enough to keep bursts,
#: short enough to mix a source of a few hundred moments.
MOMENTS_MAX = 256
_BLOCKS_MIN = 16

#: A row is moved back by up to this share of all rows.
SHUFFLE_SHARE = 1.0 / 32

#: A drawn value moves by up to this share of all ranks.
RANK_JITTER = 1.0 / 512


class BlockArrivals:
    """An endless sequence of gaps between arrivals, composed of blocks of the source's gaps.

    Each block starts at about the place that the source had reached after the same number of
    moments (plus or minus one block). Every part of the source is therefore used equally often, its
    rate over time repeats in every cycle, and bursts and ties shorter than a block are preserved (a
    moving-block bootstrap).
    """

    def __init__(
        self, gaps_us: _Integers, source_count: int, generator: np.random.Generator
    ) -> None:
        """Take the source's gaps.

        Args:
            gaps_us: gap before each sampled request, shape (n,); the first one is > 0 unless all
                are 0.
            source_count: requests of the complete source; the gaps may be a sample of it.
            generator: the source of randomness.
        """
        self._gaps_us = gaps_us
        self._generator = generator
        #: First row of every moment, and the end; all rows are one moment if nothing ever waits.
        self._starts = np.append(np.flatnonzero(gaps_us) if gaps_us.any() else 0, gaps_us.size)
        self._moments = self._starts.size - 1
        self._block_moments = min(max(self._moments // _BLOCKS_MIN, 1), MOMENTS_MAX)
        # A sampled part of the source represents its neighbours and lasts as long as they did.
        self._moments_step = self._block_moments * gaps_us.size / source_count
        self._block = 0
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> _Integers:
        """Return the next `count` gaps in microseconds, including the gap before the first request."""
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


#: Requests whose numbers are drawn at once. Fixed, so that a longer trace starts like a shorter one.
CHUNK_REQUESTS = 4096

_TIME_US_MAX = 2**53


@dataclass(frozen=True, slots=True)
class Draws:
    """The numbers of some requests, arrays of one shape (n,).

    Attributes:
        rows: the model's rows (`traces.likeness.fitting.ROW`) on which the requests are based.
        arrival_us: sorted, from 0.
        input_tokens: prompt lengths.
        output_tokens: answer lengths.
        abort_after_us: from the arrival to the client's abort, or `NO_ABORT`.
        blocks_taken: leading blocks to copy from an earlier prompt, at most the full blocks of the prompt.
    """

    rows: Rows
    arrival_us: _Integers
    input_tokens: _Integers
    output_tokens: _Integers
    abort_after_us: _Integers
    blocks_taken: _Integers

    def part(self, start: int, stop: int) -> Draws:
        """Return the draws of requests `start` to `stop`."""
        return Draws(
            self.rows[start:stop],
            self.arrival_us[start:stop],
            self.input_tokens[start:stop],
            self.output_tokens[start:stop],
            self.abort_after_us[start:stop],
            self.blocks_taken[start:stop],
        )


class DrawStream:
    """An endless sequence of draws; one random stream per purpose, all from one seed."""

    def __init__(self, model: TraceModel, options: LikenessOptions) -> None:
        """Prepare the model's columns.

        Raises:
            TraceError: the rate is impossible, or the trace would last too long.
        """
        self._rows = model.rows
        self._block_size = model.block_size
        seeds = np.random.SeedSequence(options.seed).spawn(5)
        streams = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        arrivals, picks, self._inputs, self._outputs, self._aborts = streams
        self._time_scale = _time_scale(model, options)
        self._time_us: float | None = None
        gaps_us = np.ascontiguousarray(model.rows["gap_us"])
        self._arrivals = BlockArrivals(gaps_us, model.request_count, arrivals)
        self._picks = ShuffledRows(model.rows.size, picks)
        self._input_jitter = RankJitter(model.rows["input_tokens"].astype(np.int64))
        self._output_jitter = RankJitter(model.rows["output_tokens"].astype(np.int64))
        aborted = model.rows["abort_after_us"] != NO_ABORT
        self._abort_places = np.cumsum(aborted) - 1
        self._abort_jitter = RankJitter(model.rows["abort_after_us"][aborted])

    def next_chunk(self) -> Draws:
        """Return the draws of the next `CHUNK_REQUESTS` requests."""
        picks = self._picks.take(CHUNK_REQUESTS)
        rows = self._rows[picks]
        input_tokens = self._input_jitter.draw(picks, self._inputs)
        return Draws(
            rows=rows,
            arrival_us=self._next_arrivals(),
            input_tokens=input_tokens,
            output_tokens=self._output_jitter.draw(picks, self._outputs),
            abort_after_us=self._draw_aborts(picks, rows),
            blocks_taken=self._blocks_taken(rows, input_tokens),
        )

    def _next_arrivals(self) -> _Integers:
        gaps_us = self._arrivals.take(CHUNK_REQUESTS) * self._time_scale
        if self._time_us is None:
            self._time_us = -float(gaps_us[0])
        times_us = self._time_us + np.cumsum(gaps_us)
        self._time_us = float(times_us[-1])
        return times_us.astype(np.int64)

    def _draw_aborts(self, picks: _Integers, rows: Rows) -> _Integers:
        delays_us = np.full(picks.size, NO_ABORT, np.int64)
        aborted = rows["abort_after_us"] != NO_ABORT
        if aborted.any():
            places = self._abort_places[picks[aborted]]
            drawn_us = self._abort_jitter.draw(places, self._aborts)
            delays_us[aborted] = np.minimum(drawn_us, _TIME_US_MAX)
        return delays_us

    def _blocks_taken(self, rows: Rows, input_tokens: _Integers) -> _Integers:
        """Scale the number of reused blocks of the model's rows with the length of the prompts."""
        if self._block_size is None:
            return np.zeros(rows.size, np.int64)
        full_blocks = input_tokens // self._block_size
        found = rows["blocks_seen"]
        scaled = np.rint(found * (input_tokens / rows["input_tokens"])).astype(np.int64)
        taken = np.minimum(np.maximum(scaled, np.minimum(found, 1)), full_blocks)
        return np.where(rows["is_repeat"], full_blocks, taken)


def _time_scale(model: TraceModel, options: LikenessOptions) -> float:
    """Return the factor by which all gaps are multiplied."""
    scale = 1.0
    if options.rate_per_s is not None:
        if not model.duration_us:
            raise TraceError(
                f"synthesis: all requests of {model.name} arrive at once, so there is no rate to "
                "change; omit --rate"
            )
        gap_us = model.duration_us / (model.request_count - 1)
        scale = 1e6 / options.rate_per_s / gap_us
    if options.requests * float(model.rows["gap_us"].mean()) * scale > _TIME_US_MAX / 4:
        raise TraceError(
            f"synthesis: {options.requests} requests at this rate take too long for microseconds; "
            "give a higher --rate"
        )
    return scale
