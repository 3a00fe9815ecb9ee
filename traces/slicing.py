"""Cut a trace down by time, session, sample and count, and make it arrive faster or slower.

The filters apply in this order: time range, sessions, sample, head. The remaining requests are then
shifted so that the range starts at 0, and their arrivals are divided by the speed. Everything
streams.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.dataset import Trace, open_trace
from traces.errors import TraceError
from traces.schema import TIME_US_MAX
from traces.slice_options import SliceOptions
from traces.writer import TraceWriter, hold_trace


def slice_trace(
    source: Path,
    output: Path,
    options: SliceOptions,
    on_progress: Callable[[int], None] | None = None,
    *,
    force: bool = True,
) -> int:
    """Write the requests of `source` that `options` select to `output`; return their number.

    Args:
        source: trace to read, as a stream, no further than needed.
        output: Parquet file to create or replace, atomically.
        options: the requests to keep.
        on_progress: called from time to time with the number of requests read.
        force: replace a trace that was made from something else, too.

    Raises:
        TraceError: the trace is invalid, a session is not in the trace, no request is left, or a time
            becomes too large.
        OutputError: `output` is the input file, was not made by kvreplay or cannot be written.
    """
    trace = open_trace(source)
    selector = _Selector(options)
    note = " | ".join(filter(None, (trace.source, options.describe())))
    rows_read = 0
    with (
        hold_trace(output, note, reads=[source], force=force) as place,
        TraceWriter(place, source=note, block_size=trace.block_size, force=force) as writer,
    ):
        for batch in trace.iter_batches():
            kept = selector.select(batch)
            if kept.num_rows:
                writer.write_columns(_retimed(kept, options, trace))
            rows_read += batch.num_rows
            if on_progress is not None:
                on_progress(rows_read)
            if selector.is_done:
                break
        selector.check(trace)
    return writer.row_count


class _Selector:
    """Applies the filters to each batch and counts the requests that each filter leaves."""

    def __init__(self, options: SliceOptions) -> None:
        self._options = options
        self._is_complete = False
        # Bytes, not text: an argument need not be UTF-8.
        names = options.sessions or ()
        self._sessions = {name.encode("utf-8", "surrogateescape") for name in names}
        self._sessions_unseen = set(self._sessions)
        self._left_by_time = self._left_by_session = self._left_by_sample = 0
        self._kept = 0

    @property
    def is_done(self) -> bool:
        """Whether later batches can be ignored. Every named session must be found, even after the end."""
        return self._is_complete and not self._sessions_unseen

    def select(self, batch: Any) -> Any:
        """Return the rows of the batch to keep, in order."""
        options = self._options
        self._look_for_sessions(batch)
        # Arrivals are sorted, so a range of times is a range of rows.
        arrival_us = batch.column("arrival_us").to_numpy()
        start = int(np.searchsorted(arrival_us, np.int64(options.from_us)))
        stop = batch.num_rows
        if options.until_us is not None:
            stop = int(np.searchsorted(arrival_us, np.int64(options.until_us)))
            self._is_complete = stop < batch.num_rows
        batch = batch.slice(start, max(stop - start, 0))
        self._left_by_time += batch.num_rows
        if options.sessions is not None:
            batch = batch.filter(_mask_of(batch.column("session_id"), self._sessions))
        self._left_by_session += batch.num_rows
        if options.sample_share is not None:
            batch = batch.filter(_sampled(batch, options.sample_share, options.sample_seed))
        self._left_by_sample += batch.num_rows
        if options.requests_max is not None:
            batch = batch.slice(0, min(options.requests_max - self._kept, batch.num_rows))
            self._is_complete |= self._kept + batch.num_rows == options.requests_max
        self._kept += batch.num_rows
        return batch

    def check(self, trace: Trace) -> None:
        """Raise `TraceError` if a session was not found or no request was kept."""
        if self._sessions_unseen:
            name = min(self._sessions_unseen).decode("utf-8", "backslashreplace")
            raise TraceError(
                f"{trace.path}: has no session {name!r}; give complete session ids, as in column "
                "session_id"
            )
        if not trace.request_count:
            raise TraceError(f"{trace.path}: has no requests to slice; choose another trace")
        options = self._options
        before = trace.request_count
        for left, words in (
            (self._left_by_time, options.time_words()),
            (self._left_by_session, options.session_words()),
            (self._left_by_sample, options.sample_words()),
        ):
            if not left:
                raise TraceError(
                    f"{trace.path}: nothing is left to write: {words!r} keeps none of {before} "
                    "requests; choose a wider slice"
                )
            before = left

    def _look_for_sessions(self, batch: Any) -> None:
        if self._sessions_unseen:
            column = batch.column("session_id").cast(pa.binary())
            found = column.filter(_mask_of(column, self._sessions_unseen)).unique()
            self._sessions_unseen -= set(found.to_pylist())


def _mask_of(column: Any, wanted: set[bytes]) -> Any:
    return pc.is_in(column.cast(pa.binary()), pa.array(sorted(wanted), pa.binary()))


def _sampled(batch: Any, share: float, seed: int) -> Any:
    """Return a mask of the rows whose session (request, without one) is in the sample."""
    # A power of two scales exactly, so thresholds are ordered as the shares are.
    threshold = int(share * 2.0**64)
    key = seed.to_bytes(8, "little")
    owners = pc.coalesce(batch.column("session_id"), batch.column("request_id"))
    encoded = owners.cast(pa.binary()).dictionary_encode()
    is_chosen = [
        int.from_bytes(blake2b(owner, digest_size=8, key=key).digest(), "little") < threshold
        for owner in encoded.dictionary.to_pylist()
    ]
    return pa.array(is_chosen, pa.bool_()).take(encoded.indices)


def _retimed(batch: Any, options: SliceOptions, trace: Trace) -> dict[str, Any]:
    """Return the batch's columns with arrivals shifted and divided, and cancels moved along."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    shift_us = 0 if options.keep_times else options.from_us
    if not shift_us and options.speed == 1:
        return columns
    before_us = columns["arrival_us"].to_numpy()
    after_us = _divided(before_us - shift_us, options.speed, trace)
    columns["arrival_us"] = after_us
    cancels = columns["cancel_us"]
    if cancels.null_count < len(cancels):
        is_null = cancels.is_null().to_numpy(zero_copy_only=False)
        patience_us = np.where(is_null, 0, cancels.fill_null(0).to_numpy() - before_us)
        if (patience_us > TIME_US_MAX - after_us).any():
            raise _too_late(trace)
        columns["cancel_us"] = pa.array(after_us + patience_us, mask=is_null)
    return columns


def _divided(
    times_us: npt.NDArray[np.int64], speed: Fraction, trace: Trace
) -> npt.NDArray[np.int64]:
    """Return floor(time / speed) of sorted times, exactly: no floating point, no overflow."""
    numerator, denominator = speed.numerator, speed.denominator
    if int(times_us[-1]) * denominator // numerator > TIME_US_MAX:
        raise _too_late(trace)
    quotients, remainders = np.divmod(times_us, np.int64(numerator))
    # remainder * denominator < 10**12 * 10**6, well below 2**63.
    divided: npt.NDArray[np.int64] = quotients * denominator + remainders * denominator // numerator
    return divided


def _too_late(trace: Trace) -> TraceError:
    return TraceError(
        f"{trace.path}: a time exceeds 2**62 us if arrivals are slowed down that much; "
        "choose a higher speed"
    )
