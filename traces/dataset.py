"""Open, read and write request traces, in bounded memory, with pyarrow alone.

`open_trace` reads a trace, `TraceWriter` (re-exported from `traces.writer`) makes one; both check
every row with `traces.validation`. The columns are documented in `traces.schema`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import TraceError, first_line, unreadable
from traces.parquet_batches import DAMAGE, iter_bounded_batches, open_parquet
from traces.schema import (
    COLUMNS,
    METADATA_BLOCK_SIZE,
    METADATA_REQUEST_COUNT,
    METADATA_SCHEMA,
    METADATA_SOURCE,
    SCHEMA_VERSION,
    TOKENS_MAX,
    TraceRequest,
    arrow_schema,
)
from traces.text import shortened
from traces.validation import TraceValidator, confirm_repeats
from traces.writer import TraceWriter

__all__ = ["Trace", "TraceWriter", "open_trace"]

#: Rows decoded and checked at once (fewer if they are long). One row's `block_hashes` view keeps
#: the whole batch alive.
BATCH_ROWS = 4096

#: Characters read of `kvreplay.source`, which grows with every slice of a slice.
SOURCE_CHARACTERS_MAX = 2_000

_PARQUET_MAGIC = b"PAR1"
#: A footer takes some two kilobytes for each row group.
_FOOTER_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace file with a valid footer; its rows are checked as they are read.

    Attributes:
        path: the file, as given by the caller.
        request_count: rows in the file.
        block_size: tokens one block hash covers, or None when the trace has no block hashes.
        source: description of the origin, as written in the file; printable, and shortened to
            `SOURCE_CHARACTERS_MAX`.
    """

    path: Path
    request_count: int
    block_size: int | None
    source: str

    def sha256(self) -> str:
        """Return the SHA-256 of the file's bytes, in hexadecimal, reading it as a stream."""
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as problem:
            raise unreadable(self.path, problem) from problem

    def iter_requests(self) -> Iterator[TraceRequest]:
        """Yield every request in file order, each batch checked before its first row is yielded.

        Raises:
            TraceError: a row breaks the rules of `traces.schema`, or the file cannot be decoded.
        """
        for batch in self.iter_batches():
            yield from map(TraceRequest, *(_python_column(batch, name) for name in COLUMNS))

    def iter_batches(self) -> Iterator[Any]:
        """Yield checked `pyarrow.RecordBatch`es of at most `BATCH_ROWS` rows, in file order.

        Raises:
            TraceError: as `iter_requests`.
        """
        validator = TraceValidator(str(self.path), self.block_size)
        schema = arrow_schema()
        with _open_parquet(self.path) as parquet:
            batches = iter_bounded_batches(parquet, COLUMNS, BATCH_ROWS)
            while True:
                try:
                    batch = next(batches, None)
                    if batch is not None:
                        # Text that is not UTF-8 would fail much later, wherever it is used.
                        batch.validate(full=True)
                except DAMAGE as problem:
                    raise TraceError(
                        f"{self.path}: the data after row {validator.row_count} cannot be decoded "
                        f"({first_line(problem)}); the file is damaged, create it again"
                    ) from problem
                if batch is None:
                    return
                # A null where the schema has none must reach the validator, not a cast error.
                columns = [_as_type(batch.column(f.name), f.type) for f in schema]
                batch = pa.RecordBatch.from_arrays(columns, names=list(COLUMNS))
                validator.check(batch)
                if validator.suspects:
                    confirm_repeats(self.path, str(self.path), validator.suspects)
                    validator.suspects.clear()
                yield batch

    def validate(self) -> None:
        """Read the whole file and check every row.

        Raises:
            TraceError: as `iter_requests`.
        """
        for _ in self.iter_batches():
            pass


def open_trace(path: str | Path) -> Trace:
    """Open a trace: read and check its footer only, whatever its size.

    Raises:
        TraceError: the file is missing, is a directory, is not Parquet, has another schema
            (naming the first column that is missing or of another type) or lacks the metadata.
    """
    path = Path(path)
    with _open_parquet(path) as parquet:
        try:
            metadata = parquet.metadata.metadata or {}
            fields = parquet.schema_arrow
            row_count = int(parquet.metadata.num_rows)
            _check_columns(path, fields)
        except DAMAGE as problem:
            raise _without_footer(path, problem) from problem
    version = _metadata_text(metadata, METADATA_SCHEMA)
    if version != SCHEMA_VERSION:
        found = "no such key" if version is None else repr(shortened(version, 80))
        raise TraceError(
            f"{path}: footer key {METADATA_SCHEMA} must be {SCHEMA_VERSION!r} but there is "
            f"{found}; write traces with traces.dataset.TraceWriter or `kvreplay trace`"
        )
    block_size = _metadata_int(path, metadata, METADATA_BLOCK_SIZE)
    if block_size is not None and not 1 <= block_size <= TOKENS_MAX:
        raise TraceError(
            f"{path}: footer key {METADATA_BLOCK_SIZE} is {block_size}; it must be a number of "
            "tokens, at least 1"
        )
    declared_count = _metadata_int(path, metadata, METADATA_REQUEST_COUNT)
    if declared_count not in (None, row_count):
        raise TraceError(
            f"{path}: footer key {METADATA_REQUEST_COUNT} says {declared_count} but the file has "
            f"{row_count} rows; write the trace again"
        )
    source = _metadata_text(metadata, METADATA_SOURCE) or ""
    return Trace(path, row_count, block_size, shortened(source, SOURCE_CHARACTERS_MAX, lines=True))


def _open_parquet(path: Path) -> Any:
    try:
        if path.is_dir():
            raise TraceError(f"{path}: is a directory; name a trace file (Parquet)")
        if path.exists() and not path.is_file():
            raise TraceError(f"{path}: is not a regular file; name a trace file (Parquet)")
        with path.open("rb") as stream:
            head = stream.read(len(_PARQUET_MAGIC))
            # A Parquet file ends with the length of its footer and its magic number.
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8))
            footer_bytes = int.from_bytes(stream.read(4), "little")
    except FileNotFoundError:
        raise TraceError(
            f"{path}: no such file; create one with `kvreplay trace synth` or `kvreplay trace import`"
        ) from None
    except (OSError, ValueError) as problem:
        if isinstance(problem, TraceError):
            raise
        raise unreadable(path, problem) from problem
    if head != _PARQUET_MAGIC:
        # Do not quote the content: a shared matrix file may name any file.
        found = "" if head else " (it is empty)"
        raise TraceError(
            f"{path}: is not a Parquet file{found}; convert a log with `kvreplay trace import`"
        )
    if footer_bytes > _FOOTER_BYTES_MAX:
        raise TraceError(
            f"{path}: the footer has {footer_bytes:,} bytes, more than the limit of "
            f"{_FOOTER_BYTES_MAX:,}; the file is damaged or not a trace, write it again without long "
            "texts in the footer"
        )
    try:
        return open_parquet(path)
    except DAMAGE as problem:
        raise _without_footer(path, problem) from problem


def _check_columns(path: Path, fields: Any) -> None:
    for expected in arrow_schema():
        places = fields.get_all_field_indices(expected.name)
        if len(places) != 1:
            what = "is missing" if not places else f"occurs {len(places)} times"
            raise TraceError(
                f"{path}: is not a kvreplay trace: column {expected.name} {what}; "
                f"a trace has the columns {', '.join(COLUMNS)}"
            )
        found = fields.field(places[0]).type
        if not _same_kind(found, expected.type):
            raise TraceError(
                f"{path}: column {expected.name} has type {found} where a trace has "
                f"{expected.type}; cast the column and write the trace again"
            )


def _same_kind(found: Any, expected: Any) -> bool:
    """Whether a column has the type of the schema; 64-bit offsets (as written by polars) count too."""
    if pa.types.is_string(expected):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_list(expected):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return bool(is_list and found.value_type == expected.value_type)
    return bool(found == expected)


def _as_type(column: Any, wanted: Any) -> Any:
    return column if column.type == wanted else column.cast(wanted)


def _python_column(batch: Any, name: str) -> Any:
    """Return one column as an iterable of Python values (block hashes: numpy views)."""
    column = batch.column(name)
    if column.null_count == len(column):
        return repeat(None, len(column))
    if name == "block_hashes":
        return _hash_views(column)
    if pa.types.is_string(column.type):
        return column.to_numpy(zero_copy_only=False).tolist()
    if column.null_count == 0:
        return column.to_numpy().tolist()
    values = column.fill_null(0).to_numpy().astype(object)
    values[column.is_null().to_numpy(zero_copy_only=False)] = None
    return values.tolist()


def _hash_views(column: Any) -> list[npt.NDArray[np.uint64] | None]:
    """Slice a list<uint64> column into one read-only uint64 view a row, None where null."""
    values = column.values.to_numpy()
    bounds = column.offsets.to_numpy().tolist()
    views: list[npt.NDArray[np.uint64] | None] = [
        values[start:stop] for start, stop in pairwise(bounds)
    ]
    if column.null_count:
        for row in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist():
            views[row] = None
    return views


def _metadata_text(metadata: dict[bytes, bytes], key: str) -> str | None:
    value = metadata.get(key.encode())
    return None if value is None else value.decode("utf-8", "replace")


def _metadata_int(path: Path, metadata: dict[bytes, bytes], key: str) -> int | None:
    text = _metadata_text(metadata, key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise TraceError(
            f"{path}: footer key {key} is {shortened(text, 80)!r}, not a number; write it again"
        )
    return int(text)


def _without_footer(path: Path, problem: Exception) -> TraceError:
    return TraceError(
        f"{path}: starts like a Parquet file but has no readable footer "
        f"({first_line(problem)}); it is truncated or damaged, create it again"
    )
