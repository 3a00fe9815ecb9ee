"""A replay whose recording never touches a disk: what makes tens of them a second possible.

The tables are the ones that a recording directory has, with the same columns and types, and the
verdict comes from the same function.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch

from replay.errors import RecordingError
from replay.recording.reader import BATCH_ROWS, Recording
from replay.recording.writer import RecordingWriter
from replay.run.replay_once import ReplayRequest, observe
from replay.verdict.judge import Verdict, judge


class _Rows:
    """The rows of one table, kept until somebody asks for them."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.name = path.stem
        self._schema = schema
        self._rows: list[tuple[object, ...]] = []
        self.append = self._rows.append

    def extend(self, columns: Sequence[Sequence[Any]]) -> None:
        """Add many rows, given as columns."""
        self._rows.extend(zip(*columns, strict=True))

    def close(self) -> None:
        """Nothing: rows stay where they are."""

    def table(self) -> pa.Table:
        """The rows with the types of their schema."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._schema)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)


@dataclass(frozen=True, slots=True)
class MemoryRecording(Recording):
    """A finished recording in memory."""

    tables: dict[str, pa.Table]

    def table(self, name: str) -> pa.Table:
        """One table whole, dictionary columns as plain strings."""
        table = self.tables[name]
        words = [
            pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ]
        return table.cast(pa.schema(words))

    def batches(
        self, name: str, columns: Sequence[str], batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Some columns of one table as a stream, dictionary columns as they are."""
        yield from self.tables[name].select(list(columns)).to_batches(batch_rows)

    def audit_rows(self, numbers: Collection[int]) -> dict[int, dict[str, Any]]:
        """The audits of these numbers, by number.

        Raises:
            RecordingError: there is none or several of a number.
        """
        audits = self.tables["audits"]
        wanted = pa.array(sorted(set(numbers)), pa.int64())
        rows = audits.filter(pc.is_in(audits["audit"], value_set=wanted)).to_pylist()
        if len(rows) != len(wanted):
            raise RecordingError(f"audits: has {len(rows)} of the audits {wanted.to_pylist()}")
        return {row["audit"]: row for row in rows}


def replay_in_memory(request: ReplayRequest) -> tuple[MemoryRecording, Verdict]:
    """Replay on the CPU and judge, without a file.

    Raises:
        TraceError: the trace breaks a rule of its schema.
        InvariantError: the replay itself is broken.
    """
    kept: list[_Rows] = []

    def make_table(path: Path, schema: pa.Schema) -> _Rows:
        kept.append(_Rows(path, schema))
        return kept[-1]

    nowhere = Path()
    seen = observe(request, RecordingWriter(nowhere, make_table), torch.device("cpu"))
    recording = MemoryRecording(nowhere, seen.run, {rows.name: rows.table() for rows in kept})
    return recording, judge(recording)
