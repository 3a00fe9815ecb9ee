"""Write a trace: checked, in small row groups, and atomically."""

from __future__ import annotations

import contextlib
import filecmp
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from traces.errors import OutputError, TraceError
from traces.files.kinds import TRACE
from traces.files.place import Place, hold
from traces.files.writing import create
from traces.schema import (
    COLUMNS,
    METADATA_BLOCK_SIZE,
    METADATA_REQUEST_COUNT,
    METADATA_SCHEMA,
    METADATA_SOURCE,
    REQUIRED_COLUMNS,
    SCHEMA_VERSION,
    TOKENS_MAX,
    TraceRequest,
    arrow_schema,
)
from traces.validation import TraceValidator, confirm_repeats

#: A row group ends at this many rows, or earlier at this many block hashes (32 MiB), so a reader's
#: memory does not depend on the length of the prompts.
ROW_GROUP_ROWS = 16384
ROW_GROUP_HASHES = 4 * 1024 * 1024

#: Rows given one by one are turned into a batch, and checked, this many at a time.
ROWS_BUFFERED = 4096

_CONVERSION_ERRORS = (pa.ArrowException, TypeError, ValueError, OverflowError)


@contextmanager
def hold_trace(
    path: str | Path, source: str, *, reads: Sequence[Path] = (), force: bool = False
) -> Iterator[Place]:
    """Reserve the destination of a trace before the work begins.

    Args:
        path: the file to create or replace.
        source: the source note of the new trace; an existing trace with another note is kept.
        reads: input files, which must not be replaced.
        force: replace any trace.

    Raises:
        OutputError: another file is there.
    """
    with hold(path, TRACE, reads=reads) as place:
        if place.exists and not force:
            found = None
            # A damaged file counts as another trace.
            with contextlib.suppress(OSError, pa.ArrowException):
                found = (pq.read_metadata(place.path).metadata or {}).get(METADATA_SOURCE.encode())
            if found != source.encode():
                raise _another(place)
        yield place


def _another(place: Place) -> OutputError:
    return OutputError(
        f"{place.name}: holds another trace; name another file, or replace it with --force"
    )


class TraceWriter:
    """Context manager that writes one trace file.

    The file appears complete or not at all (also after KeyboardInterrupt), and only replaces a
    trace. The same rows, source and block size give the same bytes, regardless of batching.

    Example:
        with TraceWriter("out.parquet", source="my log", block_size=None) as writer:
            writer.write(TraceRequest("a", 0, 128, 16))
    """

    def __init__(
        self,
        path: str | Path | Place,
        *,
        source: str,
        block_size: int | None,
        force: bool = True,
    ) -> None:
        """Set the target; nothing is written before the `with` block starts.

        Args:
            path: file to create or replace, or its `Place` if it is held already.
            source: description of the origin, stored in the footer.
            block_size: tokens a block hash covers, None if no row has block hashes.
            force: replace a trace with other content.

        Raises:
            TraceError: `block_size` is not a number of tokens.
        """
        self._path = Path(path.name if isinstance(path, Place) else path)
        if block_size is not None and not 1 <= block_size <= TOKENS_MAX:
            raise TraceError(
                f"{self._path}: block_size is {block_size}; it must be at least 1 token"
            )
        self._given, self._force = path, force
        metadata = {METADATA_SCHEMA: SCHEMA_VERSION, METADATA_SOURCE: source}
        if block_size is not None:
            metadata[METADATA_BLOCK_SIZE] = str(block_size)
        self._schema = arrow_schema().with_metadata(metadata)
        self._validator = TraceValidator(str(self._path), block_size)
        self._rows: list[TraceRequest] = []
        self._pending: list[Any] = []
        self._pending_rows = 0
        self._pending_hashes = 0
        self._stack = ExitStack()
        self._place: Place
        self._working: Path
        self._sink: BinaryIO
        self._parquet: Any = None

    def __enter__(self) -> Self:
        """Open a working file; raise `OutputError` when the target cannot be written."""
        with ExitStack() as stack:
            given = self._given
            self._place = (
                given if isinstance(given, Place) else stack.enter_context(hold(given, TRACE))
            )
            self._working = self._place.file()
            self._sink = stack.enter_context(create(self._working))
            self._parquet = pq.ParquetWriter(
                self._sink,
                self._schema,
                compression="zstd",
                use_dictionary=["session_id"],
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publish the file, or remove the partial file if the block failed."""
        if exception_type is not None:
            self._discard()
            self._stack.__exit__(exception_type, exception, traceback)
            return
        with self._stack:
            try:
                self._flush_rows()
                self._drain(final=True)
                self._publish()
            except BaseException:
                self._discard()
                raise

    @property
    def row_count(self) -> int:
        """Rows accepted so far."""
        return self._validator.row_count + len(self._rows)

    def write(self, request: TraceRequest) -> None:
        """Add one request. It is checked together with its batch, at the latest at the end of the block.

        Raises:
            TraceError: a buffered row breaks the rules of `traces.schema`.
        """
        self._rows.append(request)
        if len(self._rows) >= ROWS_BUFFERED:
            self._flush_rows()

    def write_columns(self, columns: Mapping[str, Any]) -> None:
        """Add a batch of columns: name -> list, numpy array or pyarrow array, all of the same length.

        Nullable columns may be omitted.

        Raises:
            TraceError: a column is missing, unknown, of another length or type, or a row breaks
                the rules of `traces.schema`.
        """
        self._flush_rows()
        self._append(columns)

    def _flush_rows(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self._append({name: [getattr(row, name) for row in rows] for name in COLUMNS})

    def _append(self, columns: Mapping[str, Any]) -> None:
        for name in columns:
            if name not in COLUMNS:
                raise TraceError(
                    f"{self._path}: column {name} is unknown; a trace has {', '.join(COLUMNS)}"
                )
        for name in COLUMNS:
            if name in REQUIRED_COLUMNS and columns.get(name) is None:
                raise TraceError(f"{self._path}: column {name} is missing; give it for every row")
        row_count = len(columns["request_id"])
        arrays = []
        for field in self._schema:
            values = columns.get(field.name)
            if values is None:
                arrays.append(pa.nulls(row_count, field.type))
                continue
            if len(values) != row_count:
                raise TraceError(
                    f"{self._path}: column {field.name} has {len(values)} rows where request_id "
                    f"has {row_count}; give columns of one length"
                )
            arrays.append(self._to_arrow(field.name, values, field.type))
        batch = pa.RecordBatch.from_arrays(arrays, names=list(COLUMNS))
        self._validator.check(batch)
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_hashes += len(batch.column("block_hashes").flatten())
        self._drain(final=False)

    def _to_arrow(self, name: str, values: Any, wanted: Any) -> Any:
        try:
            if isinstance(values, pa.ChunkedArray):
                values = values.combine_chunks()
            return values.cast(wanted) if isinstance(values, pa.Array) else pa.array(values, wanted)
        except _CONVERSION_ERRORS as problem:
            for row, value in enumerate(values):
                try:
                    pa.array([value.as_py() if isinstance(value, pa.Scalar) else value], wanted)
                except _CONVERSION_ERRORS:
                    raise TraceError(
                        f"{self._path}: column {name} cannot hold {value!r:.60} at row "
                        f"{self._validator.row_count + row}; its type is {wanted}"
                    ) from problem
            raise TraceError(
                f"{self._path}: column {name} cannot be made {wanted} "
                f"({str(problem).splitlines()[0]}); give plain values of that type"
            ) from problem

    def _drain(self, *, final: bool) -> None:
        """Write the full row groups, and with `final` the remaining rows too."""
        full = self._pending_rows >= ROW_GROUP_ROWS or self._pending_hashes >= ROW_GROUP_HASHES
        if not (full or (final and self._pending_rows)):
            return
        table = pa.Table.from_batches(self._pending, self._pending[0].schema).combine_chunks()
        lengths = pc.list_value_length(table.column("block_hashes")).fill_null(0).to_numpy()
        ends = np.cumsum(lengths, dtype=np.int64)
        start = 0
        while start < table.num_rows:
            before = int(ends[start - 1]) if start else 0
            # Cuts depend on the rows alone, never on how they were batched.
            cut = int(np.searchsorted(ends, before + ROW_GROUP_HASHES)) + 1
            stop = min(cut, start + ROW_GROUP_ROWS)
            if stop > table.num_rows and not final:
                break
            stop = min(stop, table.num_rows)
            rows = table.slice(start, stop - start).cast(self._schema)
            self._parquet.write_table(rows, row_group_size=ROW_GROUP_ROWS)
            start = stop
        rest = table.slice(start)
        self._pending = rest.to_batches() if rest.num_rows else []
        self._pending_rows = rest.num_rows
        self._pending_hashes = int(ends[-1] - (ends[start - 1] if start else 0))

    def _publish(self) -> None:
        """Finish the working file, check suspected repeats and move the file to its destination."""
        # Only the count is kept out of the Arrow schema: a tool that filters rows copies the schema.
        self._parquet.add_key_value_metadata(
            {METADATA_REQUEST_COUNT: str(self._validator.row_count)}
        )
        self._parquet.close()
        self._sink.close()
        if self._validator.suspects:
            confirm_repeats(self._working, str(self._path), self._validator.suspects)
        place, working = self._place, self._working
        if not self._force and place.exists and not filecmp.cmp(working, place.path, shallow=False):
            raise _another(place)
        place.put(working)

    def _discard(self) -> None:
        """Close the working file in any state; its place removes it."""
        with contextlib.suppress(Exception):
            self._parquet.close()
