"""Writes the tables of a recording while a replay runs, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from replay.recording.tables import TABLES
from traces.files.writing import create

_ROWS_PER_GROUP = 65_536


class TableSink(Protocol):
    """Where the rows of one table go."""

    def append(self, row: tuple[object, ...]) -> None:
        """Add one row, in the order of the schema."""

    def extend(self, columns: Sequence[Sequence[Any]]) -> None:
        """Add many rows, given as columns in the order of the schema."""

    def close(self) -> None:
        """Take in what is left."""


class TableWriter:
    """One Parquet file, filled row by row in bounded memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[tuple[object, ...]] = []
        self._file = create(path)
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")

    def append(self, row: tuple[object, ...]) -> None:
        """Add one row, in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def extend(self, columns: Sequence[Sequence[Any]]) -> None:
        """Add many rows, given as columns in the order of the schema."""
        self._flush()
        self._write(columns)

    def close(self) -> None:
        """Write what is left and finish the file."""
        self._flush()
        self._writer.close()
        self._file.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        self._write(list(zip(*self._rows, strict=True)))
        self._rows = []

    def _write(self, columns: Sequence[Sequence[Any]]) -> None:
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=_ROWS_PER_GROUP)


class RecordingWriter:
    """The tables of a recording under way.

    Args:
        directory: where the tables are written.
        make_table: makes each of them, in the place of a Parquet file.
    """

    def __init__(
        self, directory: Path, make_table: Callable[[Path, pa.Schema], TableSink] = TableWriter
    ) -> None:
        self.directory = directory
        self._tables = {
            name: make_table(directory / f"{name}.parquet", schema)
            for name, schema in TABLES.items()
        }
        # Bound once: these are the hot ones.
        self.event = self._tables["events"].append
        self.audit = self._tables["audits"].append
        self.owner = self._tables["owners"].append
        self.request = self._tables["requests"].append
        self.content = self._tables["contents"].append
        self.pages = self._tables["pages"].extend

    def close(self) -> None:
        """Finish every table."""
        for table in self._tables.values():
            table.close()
