"""Import logs: read their rows, sort them by arrival and write one trace, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from traces.errors import TraceError
from traces.files.kinds import TRACE
from traces.files.place import Place
from traces.formats.reader import ImportOptions, ImportTally, LogReader, RowCount
from traces.formats.registry import (
    AUTO,
    FORMATS,
    PLAIN_FORMATS,
    detect_format,
    load_format,
)
from traces.formats.source import LogFile, OnProgress, find_log_file
from traces.hashing import SeenFingerprints, fingerprints
from traces.schema import COLUMNS, TraceRequest, arrow_schema
from traces.sorting import ArrivalSorter
from traces.writer import TraceWriter, hold_trace

#: Rows, and block hashes, gathered before they become one Arrow batch.
_BATCH_ROWS = 4096
_BATCH_HASHES = 512 * 1024

#: Arrivals later than ten years after zero are on a wall clock, whatever the format says.
_WALL_CLOCK_US_MIN = 10 * 365 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The outcome of one import; read = written + all skipped.

    Attributes:
        format: name of the format.
        files: logs read.
        rows_read: rows seen in them.
        rows_written: requests in the trace.
        rows_reordered: rows that arrive before a row earlier in the logs.
        shifted_us: amount subtracted from every time so that the first arrival is 0.
        skipped: reason -> skipped rows.
        changed: reason -> rows that were kept without some of their values.
    """

    format: str
    files: int
    rows_read: int
    rows_written: int
    rows_reordered: int
    shifted_us: int
    skipped: dict[str, RowCount]
    changed: dict[str, RowCount]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def import_logs(
    sources: Sequence[str | Path],
    destination: str | Path,
    format_name: str = AUTO,
    options: ImportOptions | None = None,
    on_progress: OnProgress | None = None,
    on_written: Callable[[int, int], None] | None = None,
    *,
    force: bool = True,
) -> ImportReport:
    """Convert logs of one format to one trace, sorted by arrival; ties keep their order.

    The logs share one clock: the rows of all files are merged by time. A row whose request id
    occurred in an earlier row is skipped and counted.

    Args:
        sources: the logs, at least one.
        destination: Parquet file to create or replace, atomically.
        format_name: a key of `FORMATS`, or `auto`.
        options: the user's options.
        on_progress: called with the number of (compressed) bytes read from all logs.
        on_written: called with the requests written and their total, after all logs are read.
        force: replace a trace that was made from something else, too.

    Raises:
        TraceError: unknown or mixed formats, an unreadable or malformed log, or no usable row.
        OutputError: the destination cannot be written, was not made by kvreplay or is one of the logs.
    """
    options = options or ImportOptions({})
    destination = Path(destination)
    logs = [find_log_file(Path(source)) for source in sources]
    if not logs:
        raise TraceError("no log to import; name at least one file")
    # Detect problems with the destination before reading anything.
    reads = [log.path for log in logs]
    Place(destination, TRACE).check(reads)
    format_name = _choose_format(logs, format_name, options)
    log_format = load_format(format_name)
    if options.block_size is not None and not log_format.takes_block_size:
        raise TraceError(
            f"--block-size: {format_name} logs contain the block size of their hashes, if they "
            "have any; omit the option"
        )
    tally = ImportTally()
    with hold_trace(destination, log_format.source, reads=reads, force=force) as place:
        # Beside the trace, where there is space for it.
        sorter = ArrivalSorter(place.folder())
        batches = _Batches(tally)
        for reader in _readers(logs, tally, options, on_progress):
            for batch in batches.gather(log_format.read(reader), reader):
                sorter.add(batch)
        unseen = sorted(options.column_map.keys() - tally.columns_seen)
        if unseen:
            raise TraceError(
                f"--map: no log has a column {unseen[0]!r}; check its spelling, capitals included"
            )
        if not batches.rows:
            raise _nothing_usable(logs, format_name, tally)
        shift_us = batches.first_us
        if not log_format.is_wall_clock and shift_us < _WALL_CLOCK_US_MIN:
            shift_us = 0
        with TraceWriter(
            place, source=log_format.source, block_size=tally.block_size, force=force
        ) as writer:
            for batch in sorter.sorted():
                writer.write_columns(_shifted(batch, shift_us))
                if on_written is not None:
                    on_written(writer.row_count, batches.rows)
    return ImportReport(
        format=format_name,
        files=len(logs),
        rows_read=tally.rows_read,
        rows_written=batches.rows,
        rows_reordered=batches.reordered,
        shifted_us=shift_us,
        skipped=dict(tally.skipped),
        changed=dict(tally.changed),
    )


class _Batches:
    """Turns requests into Arrow batches, without requests whose id occurred before."""

    def __init__(self, tally: ImportTally) -> None:
        self.rows = 0
        self.reordered = 0
        self.first_us = 2**63 - 1
        self._latest_us = -1
        self._tally = tally
        self._seen = SeenFingerprints()

    def gather(self, requests: Iterator[TraceRequest], reader: LogReader) -> Iterator[Any]:
        rows: list[TraceRequest] = []
        places: list[str] = []
        hashes = 0
        for request in requests:
            rows.append(request)
            places.append(reader.place)
            if request.block_hashes is not None:
                hashes += request.block_hashes.size
            if len(rows) >= _BATCH_ROWS or hashes >= _BATCH_HASHES:
                yield self._batch(rows, places)
                rows, places, hashes = [], [], 0
        if rows:
            yield self._batch(rows, places)

    def _batch(self, rows: list[TraceRequest], places: list[str]) -> Any:
        rows = self._without_repeats(rows, places)
        columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        if rows:
            arrivals = np.array(columns["arrival_us"], np.int64)
            latest = np.maximum.accumulate(np.concatenate(([self._latest_us], arrivals)))
            self.reordered += int((arrivals < latest[:-1]).sum())
            self._latest_us = int(latest[-1])
            self.first_us = min(self.first_us, int(arrivals.min()))
            self.rows += len(rows)
        schema = arrow_schema()
        return pa.RecordBatch.from_arrays(
            [pa.array(columns[field.name], field.type) for field in schema], schema=schema
        )

    def _without_repeats(self, rows: list[TraceRequest], places: list[str]) -> list[TraceRequest]:
        found = fingerprints(row.request_id for row in rows)
        order = np.argsort(found, kind="stable")
        ordered = found[order]
        repeats = np.zeros(len(rows), np.bool_)
        repeats[order[1:]] = ordered[1:] == ordered[:-1]
        repeats |= self._seen.known(found)
        self._seen.add(np.unique(found[~repeats]))
        if not repeats.any():
            return rows
        for row in np.flatnonzero(repeats).tolist():
            self._tally.skip("its request id occurred before", places[row])
        return [row for row, repeat in zip(rows, repeats.tolist(), strict=True) if not repeat]


def _readers(
    logs: list[LogFile],
    tally: ImportTally,
    options: ImportOptions,
    on_progress: OnProgress | None,
) -> Iterator[LogReader]:
    done_bytes = 0
    for log in logs:
        advance = None
        if on_progress is not None:
            advance = _from(done_bytes, on_progress)
        name = str(log.path) if len(logs) > 1 else ""
        yield LogReader(log, tally, options, name_in_places=name, on_progress=advance)
        done_bytes += log.size_bytes


def _from(start_bytes: int, on_progress: OnProgress) -> OnProgress:
    return lambda done: on_progress(start_bytes + done)


def _shifted(batch: Any, shift_us: int) -> dict[str, Any]:
    columns = {name: batch.column(name) for name in COLUMNS}
    if shift_us:
        for name in ("arrival_us", "cancel_us"):
            columns[name] = pa.compute.subtract(columns[name], shift_us)
    return columns


def _choose_format(logs: list[LogFile], format_name: str, options: ImportOptions) -> str:
    """Return the common format of all files; `auto` detects the format of each."""
    if format_name not in (AUTO, *FORMATS):
        raise TraceError(
            f"{logs[0].path}: unknown format {format_name!r}; known: {', '.join((AUTO, *FORMATS))}"
        )
    if options.column_map and format_name not in (AUTO, *PLAIN_FORMATS):
        raise TraceError(
            f"--map: {format_name} logs have columns of known meaning; omit --map, or read "
            f"the file as one of {', '.join(PLAIN_FORMATS)}"
        )
    if format_name != AUTO:
        return format_name
    found: dict[str, LogFile] = {}
    for log in logs:
        name = detect_format(log, has_column_map=bool(options.column_map))
        if name is not None:
            found.setdefault(name, log)
    if not found:
        raise TraceError(
            f"{logs[0].path}: has no rows from which to detect its format; check the file"
        )
    if len(found) > 1:
        (one, one_log), (other, other_log) = list(found.items())[:2]
        raise TraceError(
            f"{other_log.path}: is {other} but {one_log.path} is {one}; import logs of one format "
            "at a time"
        )
    return next(iter(found))


def _nothing_usable(logs: list[LogFile], format_name: str, tally: ImportTally) -> TraceError:
    reasons = "; ".join(f"{count.rows} x {reason}" for reason, count in tally.skipped.items())
    what = str(logs[0].path) if len(logs) == 1 else f"{logs[0].path} and {len(logs) - 1} more"
    return TraceError(
        f"{what}: has no row that can be imported as {format_name} "
        f"({reasons or 'there are no rows'}); check the file and --format"
    )
