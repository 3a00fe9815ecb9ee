"""Writes the tables of a recording while a replay runs, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from faults.events import CompletionEvent
from faults.rule import FaultRule
from replay.recording.event_results import LOST, NOT_BEFORE_THE_END
from replay.recording.tables import TABLES
from traces.files.writing import create

_ROWS_PER_GROUP = 65_536


class EventRow(NamedTuple):
    """One delivery of a completion event, or its loss."""

    number: int
    copy: int
    event: CompletionEvent
    failed: bool
    rules: tuple[FaultRule, ...]

    def to_tuple(
        self, delivered_us: int | None, result: str, observed: bool = False
    ) -> tuple[object, ...]:
        """The row as written, in the order of `EVENTS_SCHEMA`."""
        event, faults, rules = self.event, None, None
        if self.rules:
            faults = " + ".join(rule.fault for rule in self.rules)
            rules = " + ".join(rule.name for rule in self.rules)
        return (
            self.number,
            self.copy,
            event.request_id,
            event.direction,
            event.pool,
            event.bootstrap_room,
            event.prefill_tp_rank,
            event.decode_tp_rank,
            event.pages,
            event.sent_us,
            event.due_us,
            delivered_us,
            self.failed,
            faults,
            rules,
            result,
            observed if self.rules else None,
        )


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
        self._expected: dict[tuple[int, int], EventRow] = {}
        # Bound once: these are the hot ones.
        self.audit = self._tables["audits"].append
        self.owner = self._tables["owners"].append
        self.request = self._tables["requests"].append
        self.content = self._tables["contents"].append
        self.pages = self._tables["pages"].extend

    def expect(self, row: EventRow) -> None:
        """Keep a delivery in mind until it arrives."""
        self._expected[row.number, row.copy] = row

    def delivered(self, row: EventRow, delivered_us: int, result: str, observed: bool) -> None:
        """Write a delivery that arrived, and what its receiver made of it.

        `observed` says whether what rules did to it made a difference that an engine could see.
        """
        del self._expected[row.number, row.copy]
        self._tables["events"].append(row.to_tuple(delivered_us, result, observed))

    def lost(self, row: EventRow, observed: bool) -> None:
        """Write an event that was lost, when it was due."""
        del self._expected[row.number, row.copy]
        self._tables["events"].append(row.to_tuple(None, LOST, observed))

    def never_arrived(self, number: int, copy: int, observed: bool) -> None:
        """Write a delivery that did not arrive before the end."""
        row = self._expected.pop((number, copy))
        self._tables["events"].append(row.to_tuple(None, NOT_BEFORE_THE_END, observed))

    def close(self) -> None:
        """Write deliveries that never arrived, and finish every table."""
        for row in self._expected.values():
            self._tables["events"].append(row.to_tuple(None, NOT_BEFORE_THE_END))
        self._expected.clear()
        for table in self._tables.values():
            table.close()
