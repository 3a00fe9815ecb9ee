"""Read Parquet in batches that are small whatever a row holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: What reading a damaged file raises; names and text need not be UTF-8 in one.
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)

#: Bytes of all columns that are decoded at once, about.
BATCH_BYTES_MAX = 4 * 2**20

#: Rows that are decoded to see how large rows are.
_PROBE_ROWS = 256

_READ_BUFFER_BYTES = 2**20


def open_parquet(path: Path) -> Any:
    """Open a file for streaming: read ahead little, keep nothing that was read.

    Raises:
        DAMAGE: it is no Parquet file or cannot be read.
    """
    source: Any = str(path)
    try:
        source.encode()
    except UnicodeEncodeError:
        # pyarrow takes names that are UTF-8 only.
        source = path.open("rb")
    # pyarrow's default, pre_buffer=True, keeps every row group it has read until the end.
    return pq.ParquetFile(source, pre_buffer=False, buffer_size=_READ_BUFFER_BYTES)


def iter_bounded_batches(parquet: Any, columns: Sequence[str], rows_max: int) -> Iterator[Any]:
    """Yield record batches of some columns, of at most `rows_max` rows, never across row groups.

    Rows with long lists come fewer at a time, so that memory does not depend on them. How long they
    are is found by decoding some: what the footer says of column chunks aborts the whole process
    when it is damaged (pyarrow 26).

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
            # So far off that the group is begun anew.
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
