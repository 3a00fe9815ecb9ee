"""Rows of a log file for the formats (JSON lines, CSV, Parquet), and the counts of an import.

A format turns one row into one request, or raises `RowSkipped`; `LogReader.requests` counts both,
so no row is dropped without a count. Unreadable rows are handled here, in the same way for all
formats: a truncated last line is skipped and counted; any other unreadable line stops the import
with its file and line, unless the user asked to skip bad lines.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn, TypeVar

import pyarrow as pa

from traces.errors import TraceError, first_line
from traces.formats.csv_records import iter_records
from traces.formats.source import LogFile, OnProgress
from traces.parquet_batches import DAMAGE, iter_bounded_batches, open_parquet
from traces.schema import TIME_US_MAX, TraceRequest


class RowSkipped(Exception):  # noqa: N818 - a skipped row is not an error
    """A row is not a usable request; the message is the reason. Raised only inside `traces.formats`."""


@dataclass(frozen=True, slots=True)
class RowCount:
    """The number of rows with a reason, and the place of the first of them (`line 2`)."""

    rows: int
    first_at: str


@dataclass(slots=True)
class ImportTally:
    """Counts of one import, over all its files.

    Attributes:
        rows_read: rows read, good and bad; blank lines and headers are not rows.
        skipped: reason -> rows skipped for this reason.
        changed: reason -> rows that were kept without some of their values.
        block_size: tokens one block hash covers, as soon as a row gives it.
        columns_seen: columns mapped by the user that occur in some log.
    """

    rows_read: int = 0
    skipped: dict[str, RowCount] = field(default_factory=dict)
    changed: dict[str, RowCount] = field(default_factory=dict)
    block_size: int | None = None
    columns_seen: set[str] = field(default_factory=set)

    def skip(self, reason: str, place: str) -> None:
        """Count one row that cannot be used."""
        _count(self.skipped, reason, place)

    def change(self, reason: str, place: str) -> None:
        """Count one row that was kept without some of its values."""
        _count(self.changed, reason, place)


def _count(counts: dict[str, RowCount], reason: str, place: str) -> None:
    former = counts.get(reason)
    counts[reason] = (
        RowCount(1, place) if former is None else RowCount(former.rows + 1, former.first_at)
    )


_Row = TypeVar("_Row")

#: Rows of a Parquet log turned into Python values at once.
_PARQUET_BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The user's options for an import.

    Attributes:
        column_map: for the plain formats: column of the log -> field of a request.
        block_size: tokens one block hash covers, for formats that do not contain it.
        skip_bad_lines: count and skip unreadable lines instead of stopping.
    """

    column_map: Mapping[str, str]
    block_size: int | None = None
    skip_bad_lines: bool = False


class LogReader:
    """One log file being imported.

    Attributes:
        log: the file.
        tally: counts over all files of the import.
        options: the user's options.
    """

    def __init__(
        self,
        log: LogFile,
        tally: ImportTally,
        options: ImportOptions,
        *,
        name_in_places: str = "",
        on_progress: OnProgress | None = None,
    ) -> None:
        """Start before the first row.

        Args:
            log: the file.
            tally: the counts of the import.
            options: the user's options.
            name_in_places: name of this file in places, if the import has several files.
            on_progress: called with the number of bytes read from this file.
        """
        self.log = log
        self.tally = tally
        self.options = options
        self._prefix = f"{name_in_places} " if name_in_places else ""
        self._on_progress = on_progress
        self._unit = "line"
        self._number = 0
        self._row = -1
        self._log_tag = cache(log.tag)

    # For the formats.

    @property
    def place(self) -> str:
        """The position of the reader, such as `line 12`."""
        return f"{self._prefix}{self._unit} {self._number}"

    @property
    def row_key(self) -> int:
        """A number that identifies the current row among all logs, and is the same in a copy of this log."""
        return int(self._log_tag(), 16) << 32 | self._row

    def make_id(self, prefix: str) -> str:
        """Return an id for a request without one: `<prefix>-<log>-<row of the log, from 0>`.

        It differs from the ids of other logs, and is the same in a copy of this log.
        """
        return f"{prefix}-{self._log_tag()}-{self._row:06d}"

    def see_columns(self, names: Iterable[str]) -> None:
        """Record that the log has these columns; see `ImportTally.columns_seen`."""
        if len(self.tally.columns_seen) < len(self.options.column_map):
            self.tally.columns_seen.update(self.options.column_map.keys() & set(names))

    def requests(
        self, rows: Iterable[_Row], to_request: Callable[[_Row], TraceRequest]
    ) -> Iterator[TraceRequest]:
        """Convert and count every row, and count the reasons for skipped rows."""
        for row in rows:
            self.tally.rows_read += 1
            self._row += 1
            try:
                request = to_request(row)
                if max(request.arrival_us, request.cancel_us or 0) > TIME_US_MAX:
                    raise RowSkipped("one of its times is out of range")
                yield request
            except RowSkipped as reason:
                self.tally.skip(str(reason), self.place)

    def note(self, change: str) -> None:
        """Count the current row as changed."""
        self.tally.change(change, self.place)

    def fail(self, problem: str, how_to_fix: str) -> NoReturn:
        """Stop the import at the current row."""
        raise TraceError(f"{self.log.path}: {self._unit} {self._number} {problem}; {how_to_fix}")

    def use_block_size(self, block_size: int) -> bool:
        """Whether hashes of that block size fit into the trace, which has the first block size seen."""
        if self.tally.block_size is None:
            self.tally.block_size = block_size
        return self.tally.block_size == block_size

    def numbered(self, rows: Iterable[_Row], unit: str) -> Iterator[_Row]:
        """Yield `rows`, numbered as `unit` 1, 2, ... in messages."""
        self._unit, self._number = unit, 0
        for row in rows:
            self._number += 1
            yield row

    # Rows by kind of file.

    def open(self) -> AbstractContextManager[io.BufferedReader]:
        """Open the decompressed bytes, for formats without rows; see `LogFile.open`."""
        return self.log.open(self._on_progress)

    def json_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON object of every line; blank lines are skipped.

        Raises:
            TraceError: a line is not a JSON object (see the module's docstring).
        """
        self._unit = "line"
        for line in self.log.iter_lines(self._on_progress):
            if not line.data.strip():
                continue
            self._number = line.number
            try:
                fields = json.loads(line.data.decode("utf-8"))
            except UnicodeDecodeError:
                problem = "is not UTF-8 text"
            except json.JSONDecodeError as error:
                problem = f"is not JSON ({error.msg} at column {error.colno})"
            except (ValueError, RecursionError):
                problem = "is not JSON that can be read"
            else:
                if isinstance(fields, dict):
                    self.see_columns(fields)
                    yield fields
                    continue
                problem = "is not a JSON object"
            self._bad_line(problem, is_cut=not line.is_complete, wanted="one JSON object per line")

    def csv_rows(self, used_columns: Collection[str] | None = None) -> Iterator[dict[str, str]]:
        """Yield every row of a CSV file as a dict with the names of the header.

        The separator is the most frequent of comma, semicolon and tab in the header.

        Args:
            used_columns: columns whose cells contain no line end; quoted cells of other columns may
                (a prompt, for example). None: no cell contains one. This prevents a stray quote
                from swallowing the rows after it.

        Raises:
            TraceError: the header repeats a name, a row cannot be read, or the number of its cells
                differs from the header.
        """
        self._unit = "line"
        records = iter_records(self.log.iter_lines(self._on_progress), used_columns)
        header = next(records, None)
        if header is None:
            return
        self._number = header.line.number
        if header.problem:
            self.fail(header.problem, "the first line names the columns")
        if len(set(header.cells)) < len(header.cells):
            self.fail("repeats a column name", "give every column a name of its own")
        self.see_columns(header.cells)
        for record in records:
            self._number = record.line.number
            if not record.problem:
                yield dict(zip(header.cells, record.cells, strict=True))
                continue
            self._bad_line(
                record.problem,
                is_cut=not record.line.is_complete,
                wanted="a row with the header's cells on every line",
            )

    def parquet_rows(self, columns: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield every row of a Parquet file, with the existing ones of `columns`.

        Raises:
            TraceError: the file cannot be decoded.
        """
        with (
            self.log.as_seekable() as path,
            self._decoding(),
            open_parquet(path) as parquet,
        ):
            present = parquet.schema_arrow.names
            wanted = [name for name in columns if name in present]
            self.see_columns(wanted)
            batches = iter_bounded_batches(parquet, wanted, _PARQUET_BATCH_ROWS)
            rows = (row for batch in batches for row in self._python_rows(batch, parquet))
            yield from self.numbered(rows, "row")

    def parquet_metadata(self) -> dict[bytes, bytes]:
        """Return the key-value metadata of a Parquet file's footer.

        Raises:
            TraceError: the file cannot be decoded.
        """
        with self.log.as_seekable() as path, self._decoding(), open_parquet(path) as parquet:
            metadata: dict[bytes, bytes] | None = parquet.metadata.metadata
            return metadata or {}

    def _python_rows(self, batch: Any, parquet: Any) -> list[dict[str, Any]]:
        if self._on_progress is not None:
            share = self._number / max(1, parquet.metadata.num_rows)
            self._on_progress(int(self.log.size_bytes * share))
        if not batch.num_columns:
            return [{} for _ in range(batch.num_rows)]
        # Python times have no nanoseconds, and time zones would need a database, so UTC is used.
        columns = [
            column.cast(pa.timestamp("us"), safe=False)
            if pa.types.is_timestamp(column.type)
            else column
            for column in batch.columns
        ]
        rows: list[dict[str, Any]] = pa.RecordBatch.from_arrays(
            columns, names=batch.schema.names
        ).to_pylist()
        return rows

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except (*DAMAGE, ValueError, OverflowError) as problem:
            if isinstance(problem, TraceError):
                raise
            raise TraceError(
                f"{self.log.path}: cannot be read as Parquet after row {self._number} "
                f"({first_line(problem)}); it is truncated or damaged, copy it again"
            ) from problem

    def _bad_line(self, problem: str, *, is_cut: bool, wanted: str) -> None:
        """Skip the current line and count it, or stop."""
        if is_cut:
            self._row += 1
            self.tally.rows_read += 1
            self.tally.skip("the last line is truncated", self.place)
        elif self.options.skip_bad_lines:
            self._row += 1
            self.tally.rows_read += 1
            reason = problem.partition(" (")[0]
            self.tally.skip(f"the line {reason}", self.place)
        else:
            self.fail(
                problem,
                f"such a log has {wanted}: repair or remove the line, or pass --skip-bad-lines",
            )
