"""Read Parquet in batches of bounded size, even if rows are large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Exceptions raised by damaged files, in which names and text may not be UTF-8.
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)

#: Approximate number of bytes decoded at once, over all columns.
BATCH_BYTES_MAX = 4 * 2**20

#: Rows decoded to estimate the size of a row.
_PROBE_ROWS = 256

_READ_BUFFER_BYTES = 2**20


def open_parquet(path: Path) -> Any:
    """Open a file for streaming, with little read-ahead and without keeping data that was read.

    Raises:
        DAMAGE: the file is not Parquet or cannot be read.
    """
    source: Any = str(path)
    try:
        source.encode()
    except UnicodeEncodeError:
        # pyarrow accepts only UTF-8 names.
        source = path.open("rb")
    # pyarrow's default, pre_buffer=True, keeps every row group it has read until the end.
    return pq.ParquetFile(source, pre_buffer=False, buffer_size=_READ_BUFFER_BYTES)


def iter_bounded_batches(parquet: Any, columns: Sequence[str], rows_max: int) -> Iterator[Any]:
    """Yield record batches of some columns, of at most `rows_max` rows, never across row groups.

    Batches of rows with long lists have fewer rows, so memory does not depend on their length. The
    size of a row is found by decoding some rows: reading the footer's sizes of column chunks aborts
    the whole process if the footer is damaged (pyarrow 26).

    Raises:
        DAMAGE: the file is damaged.
    """
    rows = min(rows_max, _PROBE_ROWS)
    for group in range(parquet.metadata.num_row_groups):
        batches = _group_batches(parquet, columns, group, rows)
        first = next(batches, None)
        if first is None:
            continue
        bytes_per_row = max(1, first.nbytes // max(1, first.num_rows))
        fitting = max(1, min(rows_max, BATCH_BYTES_MAX // bytes_per_row))
        if not rows // 2 <= fitting <= rows * 2:
            # Too far off: start the group again.
            rows = fitting
            batches = _group_batches(parquet, columns, group, rows)
            first = next(batches)
        yield first
        yield from batches


def _group_batches(parquet: Any, columns: Sequence[str], group: int, rows: int) -> Iterator[Any]:
    batches: Iterator[Any] = parquet.iter_batches(
        rows, row_groups=[group], columns=list(columns), use_threads=False
    )
    return batches
