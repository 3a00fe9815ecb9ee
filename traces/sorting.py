"""Sort rows by arrival out of core: a stable external merge sort of Arrow record batches.

    add()     buffer --(half of it, sorted)--> run 0, run 1, ...   temporary files, each sorted
    sorted()  the runs, merged a batch at a time --> batches in order of arrival

A run continues as long as the rows leaving the buffer are not earlier than its end. A log that is
only locally out of order (for example, written when requests end) is therefore one run, and a
sorted log needs no merging. Memory is limited to a few buffers; a log that fits into one buffer
uses no disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.files.locks import delete
from traces.files.writing import create

#: Bytes of rows held before half of them are written out.
BUFFER_BYTES = 32 * 2**20

#: Runs open at once while merging; more are merged into one first.
RUNS_MAX = 32

#: Rows, or bytes, that a run's file yields at once.
_CHUNK_ROWS = 4096
_CHUNK_BYTES = 512 * 1024


class ArrivalSorter:
    """Sorts record batches by their column `arrival_us`.

    Rows with the same arrival keep the order in which they were added.
    """

    def __init__(self, folder: Path, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Use an existing folder for temporary files; the caller removes it."""
        self._folder = folder
        self._buffer_bytes = buffer_bytes
        self._held: list[Any] = []
        self._held_bytes = 0
        self._runs: list[Path] = []
        self._files_made = 0
        self._run: _RunWriter | None = None

    def add(self, batch: Any) -> None:
        """Add one `pyarrow.RecordBatch`. All batches must have the same schema and no null arrivals."""
        if batch.num_rows == 0:
            return
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        if self._held_bytes > self._buffer_bytes:
            self._spill_half()

    def sorted(self) -> Iterator[Any]:
        """Yield all rows in order of arrival; no rows may be added afterwards."""
        rest = list(_slices(self._sort_held())) if self._held else []
        self._held = []
        if self._run is not None:
            self._close_run()
        sources: list[Iterator[Any]] = [_read_run(path) for path in self._runs]
        # The rows still held were added after all rows of the runs with the same arrival.
        yield from _merge([*sources, iter(rest)])

    def _sort_held(self) -> Any:
        table = pa.Table.from_batches(self._held).combine_chunks()
        (batch,) = table.to_batches()
        return _take_sorted(batch)

    def _spill_half(self) -> None:
        batch = self._sort_held()
        half = max(1, batch.num_rows // 2)
        leaving, staying = batch.slice(0, half), batch.slice(half)
        if self._run is not None and _arrivals(leaving)[0] < self._run.last_us:
            self._close_run()
        if self._run is None:
            self._run = _RunWriter(self._new_path(), batch.schema)
        self._run.write(leaving)
        # A slice keeps its whole batch alive; a copy lets go of the half that left.
        self._held = [_copy(staying)] if staying.num_rows else []
        self._held_bytes = sum(held.nbytes for held in self._held)

    def _close_run(self) -> None:
        assert self._run is not None
        self._run.close()
        self._runs.append(self._run.path)
        self._run = None
        if len(self._runs) >= RUNS_MAX:
            self._runs = [self._merge_runs(self._runs)]

    def _merge_runs(self, paths: list[Path]) -> Path:
        """Merge neighbouring runs into one, keeping the order of ties."""
        writer: _RunWriter | None = None
        for batch in _merge([_read_run(path) for path in paths]):
            if writer is None:
                writer = _RunWriter(self._new_path(), batch.schema)
            writer.write(batch)
        assert writer is not None
        writer.close()
        for path in paths:
            delete(path)
        return writer.path

    def _new_path(self) -> Path:
        self._files_made += 1
        return self._folder / f"run-{self._files_made}.arrow"


class _RunWriter:
    """Writes a sorted temporary file."""

    def __init__(self, path: Path, schema: Any) -> None:
        self.path = path
        self.last_us = 0
        self._sink = create(path)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(self._sink, schema, options=options)

    def write(self, batch: Any) -> None:
        for chunk in _slices(batch):
            self._writer.write_batch(chunk)
        self.last_us = int(_arrivals(batch)[-1])

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


def _read_run(path: Path) -> Iterator[Any]:
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as batches:
        yield from batches


def _merge(sources: list[Iterator[Any]]) -> Iterator[Any]:
    """Merge sorted sources; ties are ordered by source."""
    heads = [_Head(batch, source) for source in sources if (batch := next(source, None))]
    while len(heads) > 1:
        # No unread row can come before the nearest end of a batch.
        nearest = min(range(len(heads)), key=lambda place: (heads[place].last_us, place))
        bound_us = heads[nearest].last_us
        parts = []
        for place, head in enumerate(heads):
            # Behind the nearest head, ties must wait: its next batch may continue them.
            side = "right" if place <= nearest else "left"
            parts.append(head.take_until(bound_us, side))
        merged = [part for part in parts if part is not None]
        heads = [head for head in heads if head.refill()]
        if len(merged) == 1:
            yield merged[0]
        else:
            (batch,) = pa.Table.from_batches(merged).combine_chunks().to_batches()
            yield _take_sorted(batch)
    for head in heads:
        yield head.rest()
        yield from head.source


class _Head:
    """The current batch of one source, and the position in it."""

    def __init__(self, batch: Any, source: Iterator[Any]) -> None:
        self.source = source
        self._set(batch)

    def _set(self, batch: Any) -> None:
        self._batch = batch
        self._arrivals = _arrivals(batch)
        self._start = 0
        self.last_us = int(self._arrivals[-1])

    def take_until(self, bound_us: int, side: Any) -> Any:
        """Return the rows up to a time (`right`: inclusive), or None."""
        stop = int(np.searchsorted(self._arrivals, bound_us, side=side))
        if stop <= self._start:
            return None
        start, self._start = self._start, stop
        return self._batch.slice(start, stop - start)

    def refill(self) -> bool:
        """Load the next batch if needed; return False at the end of the source."""
        if self._start < self._batch.num_rows:
            return True
        batch = next(self.source, None)
        if batch is None:
            return False
        self._set(batch)
        return True

    def rest(self) -> Any:
        """Return the rest of the batch."""
        return self._batch.slice(self._start)


def _take_sorted(batch: Any) -> Any:
    arrivals = _arrivals(batch)
    if bool((arrivals[1:] >= arrivals[:-1]).all()):
        return batch
    return batch.take(pa.array(np.argsort(arrivals, kind="stable")))


def _slices(batch: Any) -> Iterator[Any]:
    """Cut a batch into small chunks, even if its rows are large."""
    bytes_per_row = max(1, batch.nbytes // batch.num_rows)
    rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // bytes_per_row))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _copy(batch: Any) -> Any:
    return batch.take(pa.array(np.arange(batch.num_rows)))


def _arrivals(batch: Any) -> npt.NDArray[np.int64]:
    arrivals: npt.NDArray[np.int64] = batch.column("arrival_us").to_numpy()
    return arrivals
