"""Fit a model of a trace: evenly sampled rows, each with the blocks it reused from earlier requests.

`traces.likeness.generation` makes new traces of any size from the model and describes what is
modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.statistics.inspection import session_fingerprints
from traces.statistics.prefix_reuse import flat_hashes
from traces.statistics.spill import SpilledRecords

#: Maximum number of rows in a model; for longer traces, segments spread evenly over the trace.
SAMPLE_ROWS_MAX = 2**20

#: Neighbouring rows that are kept or omitted together.
SEGMENT_ROWS = 1024

#: In `ROW.abort_after_us`: the client did not abort.
NO_ABORT = -1
#: In `ROW.priority`: none (a priority is -128 to 127).
NO_PRIORITY = 128

#: One sampled row of the source. Ages count requests: 1 is the request just before.
ROW = np.dtype(
    [
        ("row", np.int64),
        ("gap_us", np.int64),  # since the arrival before
        ("input_tokens", np.int32),
        ("output_tokens", np.int32),
        ("abort_after_us", np.int64),
        ("priority", np.int16),
        ("has_hashes", np.bool_),
        ("has_session", np.bool_),
        ("session_age", np.int64),  # since the session's request before, 0 for its first
        ("blocks_seen", np.int32),  # without a partial last block
        ("is_repeat", np.bool_),  # its partial last block was seen as well
        ("context_age", np.int64),  # since the request whose blocks it takes up, 0 for none
    ]
)

Rows = npt.NDArray[np.void]
_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TraceModel:
    """The model of one trace.

    Attributes:
        name: file name of the source, for display.
        source_sha256: digest of the source, which makes the identities of new traces unique.
        request_count: requests of the source, at least 1.
        duration_us: from its first arrival to its last.
        block_size: tokens a block hash covers, or None.
        rows: sampled rows (`ROW`) in order, shape (n,), 1 <= n <= 2 * `SAMPLE_ROWS_MAX`.
    """

    name: str
    source_sha256: str
    request_count: int
    duration_us: int
    block_size: int | None
    rows: Rows

    @property
    def is_sampled(self) -> bool:
        """Whether the source was too long for keeping every row."""
        return self.rows.size < self.request_count


def fit_trace(path: str | Path, on_progress: Callable[[int], None] | None = None) -> TraceModel:
    """Fit a model in one pass and bounded memory; reuse is counted over all requests.

    Args:
        path: trace to learn from.
        on_progress: called from time to time with the number of requests read.

    Raises:
        TraceError: the file is not a trace, a row is invalid, the trace is empty, or there is no room
            for temporary files.
    """
    trace = open_trace(path)
    if not trace.request_count:
        raise TraceError(f"{path}: has no requests to learn from; name a trace that has some")
    sample = _RowSample()
    first_us = last_us = 0
    with ExitStack() as stack:
        blocks = stack.enter_context(SpilledRecords())
        sessions = stack.enter_context(SpilledRecords())
        row_count = 0
        for batch in trace.iter_batches():
            arrival_us = batch.column("arrival_us").to_numpy()
            if not row_count:
                first_us = last_us = int(arrival_us[0])
            sample.add(_describe_rows(batch, row_count, last_us))
            if trace.block_size is not None:
                _spill_blocks(batch, row_count, trace.block_size, blocks)
            _spill_sessions(batch, row_count, sessions)
            last_us = int(arrival_us[-1])
            row_count += batch.num_rows
            if on_progress is not None:
                on_progress(row_count)
        rows = sample.rows()
        _fill_context(rows, sample, blocks)
        _fill_sessions(rows, sample, sessions)
    if rows["gap_us"].any():
        # The first request has no gap: use the median gap of the source.
        gaps_us = rows["gap_us"]
        rows["gap_us"][0] = np.quantile(gaps_us[gaps_us > 0], 0.5, method="lower")
    return TraceModel(
        name=trace.path.name.encode("utf-8", "backslashreplace").decode(),
        source_sha256=trace.sha256(),
        request_count=row_count,
        duration_us=last_us - first_us,
        block_size=trace.block_size,
        rows=rows,
    )


class _RowSample:
    """Keeps every `stride`-th segment of rows; the stride doubles whenever there are too many rows."""

    def __init__(self) -> None:
        self._stride = 1
        self._pieces: list[Rows] = []
        self._size = 0

    def add(self, rows: Rows) -> None:
        self._pieces.append(self._kept(rows))
        self._size += self._pieces[-1].size
        while self._size > SAMPLE_ROWS_MAX:
            self._stride *= 2
            self._pieces = [self._kept(piece) for piece in self._pieces]
            self._size = sum(piece.size for piece in self._pieces)

    def rows(self) -> Rows:
        return np.concatenate(self._pieces)

    def places(self, rows: _Integers) -> tuple[npt.NDArray[np.bool_], _Integers]:
        """Return a mask of the kept row numbers, and the positions of those among all kept rows."""
        segments = rows // SEGMENT_ROWS
        is_kept = segments % self._stride == 0
        places = segments // self._stride * SEGMENT_ROWS + rows % SEGMENT_ROWS
        return is_kept, places[is_kept]

    def _kept(self, rows: Rows) -> Rows:
        kept: Rows = rows[rows["row"] // SEGMENT_ROWS % self._stride == 0]
        return kept


def _describe_rows(batch: Any, first_row: int, last_us: int) -> Rows:
    """Copy the values of a batch that do not depend on other rows."""
    arrival_us = batch.column("arrival_us").to_numpy()
    rows = np.zeros(batch.num_rows, ROW)
    rows["row"] = np.arange(first_row, first_row + batch.num_rows)
    rows["gap_us"] = np.diff(arrival_us, prepend=last_us)
    for name in ("input_tokens", "output_tokens"):
        rows[name] = batch.column(name).to_numpy()
    rows["abort_after_us"] = NO_ABORT
    aborted = batch.column("cancel_us").is_valid().to_numpy(zero_copy_only=False)
    delays_us = batch.column("cancel_us").drop_null().to_numpy() - arrival_us[aborted]
    rows["abort_after_us"][aborted] = delays_us
    rows["priority"] = NO_PRIORITY
    known = batch.column("priority").is_valid().to_numpy(zero_copy_only=False)
    rows["priority"][known] = batch.column("priority").drop_null().to_numpy()
    rows["has_hashes"] = batch.column("block_hashes").is_valid().to_numpy(zero_copy_only=False)
    rows["has_session"] = batch.column("session_id").is_valid().to_numpy(zero_copy_only=False)
    return rows


def _spill_blocks(batch: Any, first_row: int, block_size: int, blocks: SpilledRecords) -> None:
    """Add a record per block: the hash, and twice the row number, plus 1 for a partial last block."""
    hashes, counts = flat_hashes(batch.column("block_hashes"))
    values = np.repeat(np.arange(first_row, first_row + counts.size) * 2, counts).astype(np.uint32)
    is_partial = (counts > 0) & (batch.column("input_tokens").to_numpy() % block_size > 0)
    values[np.cumsum(counts)[is_partial] - 1] += np.uint32(1)
    blocks.add(hashes, values)


def _spill_sessions(batch: Any, first_row: int, sessions: SpilledRecords) -> None:
    ids = batch.column("session_id")
    rows = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False)) + first_row
    sessions.add(session_fingerprints(ids), rows.astype(np.uint32))


def _fill_context(rows: Rows, sample: _RowSample, blocks: SpilledRecords) -> None:
    """Count, for every sampled row, the blocks an infinite cache would have found, and their age.

    Using a block uses all blocks before it, so the oldest block of a prompt is the deepest one.
    """
    for hashes, values in blocks.groups():
        later, before = _repeats(hashes)
        row_numbers = (values >> 1).astype(np.int64)
        ages = row_numbers[later] - row_numbers[before]
        is_kept, places = sample.places(row_numbers[later])
        is_partial = (values[later] & 1).astype(np.bool_)[is_kept]
        np.add.at(rows["blocks_seen"], places[~is_partial], 1)
        rows["is_repeat"][places[is_partial]] = True
        np.maximum.at(rows["context_age"], places, ages[is_kept])


def _fill_sessions(rows: Rows, sample: _RowSample, sessions: SpilledRecords) -> None:
    for fingerprints, values in sessions.groups():
        later, before = _repeats(fingerprints)
        row_numbers = values.astype(np.int64)
        is_kept, places = sample.places(row_numbers[later])
        rows["session_age"][places] = (row_numbers[later] - row_numbers[before])[is_kept]


def _repeats(keys: npt.NDArray[np.uint64]) -> tuple[_Integers, _Integers]:
    """Return the positions of repeated keys, and the position of each key's previous occurrence."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    again = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    return order[again], order[again - 1]
