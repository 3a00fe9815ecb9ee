"""Write a trace: checked, in row groups that stream, and atomically or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from traces.errors import TraceError
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

#: A row group ends at this many rows, or earlier at this many block hashes (32 MiB of them), so
#: that a reader's memory does not depend on how long the prompts are.
ROW_GROUP_ROWS = 16384
ROW_GROUP_HASHES = 4 * 1024 * 1024

#: Rows given one by one are turned into a batch, and checked, this many at a time.
ROWS_BUFFERED = 4096

_CONVERSION_ERRORS = (pa.ArrowException, TypeError, ValueError, OverflowError)


class TraceWriter:
    """Context manager that writes one trace file.

    The target appears complete, or not at all: rows go to a temporary file beside it, which
    replaces it when the block ends well and is removed when it does not (KeyboardInterrupt
    included). Same rows, source and block size give the same bytes, however they were batched.

    Example:
        with TraceWriter("out.parquet", source="my log", block_size=None) as writer:
            writer.write(TraceRequest("a", 0, 128, 16))
    """

    def __init__(self, path: str | Path, *, source: str, block_size: int | None) -> None:
        """Name the target; nothing is touched before the `with` block starts.

        Args:
            path: file to make or replace.
            source: where the requests came from, kept in the footer.
            block_size: tokens one block hash covers, None when no row has block hashes.

        Raises:
            TraceError: `block_size` is not a number of tokens.
        """
        if block_size is not None and not 1 <= block_size <= TOKENS_MAX:
            raise TraceError(f"{path}: block_size is {block_size}; it must be at least 1 token")
        self._path = Path(path)
        metadata = {METADATA_SCHEMA: SCHEMA_VERSION, METADATA_SOURCE: source}
        if block_size is not None:
            metadata[METADATA_BLOCK_SIZE] = str(block_size)
        self._schema = arrow_schema().with_metadata(metadata)
        self._validator = TraceValidator(str(path), block_size)
        self._rows: list[TraceRequest] = []
        self._pending: list[Any] = []
        self._pending_rows = 0
        self._pending_hashes = 0
        self._temporary: Path | None = None
        self._sink: IO[bytes] | None = None
        self._parquet: Any = None

    def __enter__(self) -> Self:
        """Open the temporary file; raise `TraceError` when the target cannot be written."""
        try:
            self._target = target = find_target(self._path)
            # Digits of this writer's own keep two writers of one target apart.
            name = f"{temporary_prefix(target)}{secrets.token_hex(6)}.tmp"
            self._temporary = target.with_name(name)
            self._sink = self._temporary.open("xb")
            self._parquet = pq.ParquetWriter(
                self._sink,
                self._schema,
                compression="zstd",
                use_dictionary=["session_id"],
            )
        except BaseException as problem:
            self._discard()
            if isinstance(problem, TraceError) or not isinstance(problem, OSError | ValueError):
                raise
            raise unwritable(self._path, problem) from problem
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publish the file, or remove what was written when the block failed."""
        if exception_type is not None:
            self._discard()
            return
        try:
            self._flush_rows()
            self._drain(final=True)
            self._publish()
        except BaseException as problem:
            self._discard()
            if isinstance(problem, OSError):
                raise unwritable(self._path, problem) from problem
            raise

    @property
    def row_count(self) -> int:
        """Rows accepted so far."""
        return self._validator.row_count + len(self._rows)

    def write(self, request: TraceRequest) -> None:
        """Add one request; it is checked with its batch, at the latest when the block ends.

        Raises:
            TraceError: a buffered row breaks the rules of `traces.schema`.
        """
        self._rows.append(request)
        if len(self._rows) >= ROWS_BUFFERED:
            self._flush_rows()

    def write_columns(self, columns: Mapping[str, Any]) -> None:
        """Add a batch given as columns: name -> list, numpy array or pyarrow array, all as long.

        Nullable columns may be left out.

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
        try:
            self._drain(final=False)
        except OSError as problem:
            raise unwritable(self._path, problem) from problem

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
        """Write the row groups that are full; all that is left when `final`."""
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
        """Finish the temporary file, check suspected repeats and put it in the target's place."""
        assert self._sink is not None and self._temporary is not None
        # Only the count is kept out of the Arrow schema: a tool that filters rows copies the schema.
        self._parquet.add_key_value_metadata(
            {METADATA_REQUEST_COUNT: str(self._validator.row_count)}
        )
        self._parquet.close()
        self._parquet = None
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()
        if self._validator.suspects:
            confirm_repeats(self._temporary, str(self._path), self._validator.suspects)
        self._temporary.replace(self._target)
        self._temporary = None
        _sync_directory(self._target.parent)

    def _discard(self) -> None:
        """Close and remove the temporary file, whatever state it is in."""
        with contextlib.suppress(Exception):
            if self._parquet is not None:
                self._parquet.close()
        self._parquet = None
        if self._sink is not None:
            with contextlib.suppress(OSError):
                self._sink.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            self._temporary = None


def find_target(path: Path) -> Path:
    """Return the file that writing to `path` makes or replaces, links followed.

    Raises:
        TraceError: it is something else than a file, or out of reach.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise TraceError(f"{path}: is a directory; name the file to write")
        if target.exists() and not target.is_file():
            raise TraceError(f"{path}: is not a regular file; name a file to write")
    except OSError as problem:
        raise unwritable(path, problem) from problem
    return target


def temporary_prefix(target: Path) -> str:
    """Return how names of temporary files for `target` begin: hidden, and never too long."""
    return f".{os.fsdecode(os.fsencode(target.name)[:64])}."


def unwritable(path: Path, problem: Exception) -> TraceError:
    """Say that a file cannot be written."""
    reason = getattr(problem, "strerror", None) or str(problem)
    return TraceError(
        f"{path}: cannot be written ({reason}); choose a path in a folder that exists, "
        "is writable and has room"
    )


def _sync_directory(folder: Path) -> None:
    # A rename is durable only once its directory is; some file systems cannot sync directories.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
