"""Read Parquet in batches that are small whatever a row holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: What reading a damaged file raises; names and text need not be UTF-8 in one.
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)

#: Values of all columns, those inside lists included, that are decoded at once (some 4 MiB).
BATCH_VALUES_MAX = 512 * 1024

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

    Rows with long lists come fewer at a time, so that memory does not depend on them.

    Raises:
        DAMAGE: the file is damaged.
    """
    for group in range(parquet.metadata.num_row_groups):
        described = parquet.metadata.row_group(group)
        leaves = (described.column(place) for place in range(described.num_columns))
        values = sum(
            leaf.num_values for leaf in leaves if leaf.path_in_schema.partition(".")[0] in columns
        )
        values_per_row = max(1, values // max(1, described.num_rows))
        rows = max(1, min(rows_max, BATCH_VALUES_MAX // values_per_row))
        yield from parquet.iter_batches(
            rows, row_groups=[group], columns=list(columns), use_threads=False
        )
