"""The numbers of a trace that resembles another: when, how long, how much taken up, when aborted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError
from traces.likeness.fitting import NO_ABORT, Rows, TraceModel
from traces.likeness.options import LikenessOptions
from traces.likeness.resampling import BlockArrivals, RankJitter, ShuffledRows

#: Requests whose numbers are drawn at once. Fixed, so that a longer trace starts like a shorter one.
CHUNK_REQUESTS = 4096

_TIME_US_MAX = 2**53

_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draws:
    """The numbers of some requests, arrays of one shape (n,).

    Attributes:
        rows: rows of the model (`traces.likeness.fitting.ROW`) that the requests are modelled on.
        arrival_us: sorted, from 0.
        input_tokens: prompt lengths.
        output_tokens: answer lengths.
        abort_after_us: from the arrival to the client's abort, or `NO_ABORT`.
        blocks_taken: leading blocks to take from an earlier prompt; at most those the prompt fills.
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
            TraceError: the rate cannot be had, or the trace would last too long.
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
        """Scale the blocks that the model's rows found with the length of the prompts."""
        if self._block_size is None:
            return np.zeros(rows.size, np.int64)
        full_blocks = input_tokens // self._block_size
        found = rows["blocks_seen"]
        scaled = np.rint(found * (input_tokens / rows["input_tokens"])).astype(np.int64)
        taken = np.minimum(np.maximum(scaled, np.minimum(found, 1)), full_blocks)
        return np.where(rows["is_repeat"], full_blocks, taken)


def _time_scale(model: TraceModel, options: LikenessOptions) -> float:
    """Return by what all gaps are multiplied."""
    scale = 1.0
    if options.rate_per_s is not None:
        if not model.duration_us:
            raise TraceError(
                f"synthesis: all requests of {model.name} arrive at once, so there is no rate to "
                "change; leave out --rate"
            )
        gap_us = model.duration_us / (model.request_count - 1)
        scale = 1e6 / options.rate_per_s / gap_us
    if options.requests * float(model.rows["gap_us"].mean()) * scale > _TIME_US_MAX / 4:
        raise TraceError(
            f"synthesis: {options.requests} requests at this pace take too long for microseconds; "
            "give a higher --rate"
        )
    return scale
