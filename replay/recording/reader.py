"""A recording: the directory in which a replay writes down everything that was seen.

    run.json           what was replayed: trace hash, profile, plan, seed, phases, versions
    audits.parquet     one row for each audit of a pool
    events.parquet     one row for each completion as sent and as delivered
    owners.parquet     one row for each stay of a request's pages in a gap
    requests.parquet   one row for each request
    contents.parquet   one row for each read that found the wrong bytes
    pages.parquet      the pool with the worst gap when that was widest, one row for each stretch of
                       pages; empty without a gap
    episodes.parquet   one row for each gap from the audit that opens it to the one that closes it
    summary.json       the verdict

Nothing in it depends on the host or the wall clock but the `environment` key of run.json and the
`timing` key of summary.json.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.errors import RecordingError
from replay.recording.file_kinds import RECORDING
from replay.recording.older import OlderTable
from replay.recording.requests import side_of
from replay.recording.tables import EPISODES_SCHEMA, RUN_SCHEMA, RUN_SCHEMAS_READ, TABLES
from traces.files.place import Place, hold, put_together, scratch

#: Rows of a table that are read at once.
BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished recording on disk; tables are read when asked for."""

    directory: Path
    run: dict[str, Any]

    @classmethod
    def open(cls, directory: Path) -> Recording:
        """Open a recording.

        Raises:
            RecordingError: the directory is missing or is not a recording of this version.
        """
        try:
            run = json.loads((directory / "run.json").read_text(encoding="utf-8"))
        except OSError:
            raise RecordingError(
                f"{directory}: not a recording: it has no readable run.json; make one with "
                "`kvreplay run TRACE --out DIR`"
            ) from None
        except ValueError:
            raise RecordingError(f"{directory}/run.json: not valid JSON") from None
        if not isinstance(run, dict) or run.get("schema") not in RUN_SCHEMAS_READ:
            found = run.get("schema") if isinstance(run, dict) else type(run).__name__
            raise RecordingError(
                f"{directory}/run.json: schema is {found!r}, this version reads {RUN_SCHEMA!r}"
            )
        profile = run.get("profile")
        page_size = profile.get("page_size") if isinstance(profile, dict) else None
        if not isinstance(page_size, int) or page_size < 1:
            raise RecordingError(
                f"{directory}/run.json: damaged: its profile's page_size is {page_size!r}"
            )
        return cls(directory, run)

    @property
    def end_us(self) -> int:
        """When the replay ended, in virtual microseconds."""
        return max((phase["end_us"] for phase in self.run["phases"]), default=0)

    def instances(self, pool: str) -> int:
        """How many servers there are on the side of a pool."""
        count: int = self.run["profile"][f"{side_of(pool)}_instances"]
        return count

    def table(self, name: str) -> pa.Table:
        """Read one table whole, dictionary columns as plain strings.

        Raises:
            RecordingError: the file is missing, is not Parquet, or lacks a column.
        """
        path = self.directory / f"{name}.parquet"
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid):
            raise RecordingError(f"{path}: missing or not a Parquet file") from None
        expected = TABLES.get(name, EPISODES_SCHEMA).names
        try:
            table = self._older(name, table.column_names).complete(table, expected)
        except ValueError as problem:
            raise RecordingError(f"{path}: {problem}") from None
        missing = [column for column in expected if column not in table.column_names]
        if missing:
            raise RecordingError(_no_column(path, missing[0]))
        words = [
            pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ]
        plain: pa.Table = table.cast(pa.schema(words))
        return plain

    def has(self, name: str) -> bool:
        """Whether it has this table; those in `ADDED_LATER` may be missing."""
        return (self.directory / f"{name}.parquet").exists()

    def batches(
        self, name: str, columns: Sequence[str], batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Read some columns of one table as a stream, dictionary columns as they are.

        Raises:
            RecordingError: the file is missing, is not Parquet, or lacks a column.
        """
        path = self.directory / f"{name}.parquet"
        try:
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as parquet:
                stored = parquet.schema_arrow.names
                older = self._older(name, stored)
                wanted = older.columns_to_read(columns)
                if missing := [each for each in wanted if each not in stored]:
                    raise RecordingError(_no_column(path, missing[0]))
                for batch in parquet.iter_batches(batch_rows, columns=wanted, use_threads=False):
                    yield older.complete(batch, columns)
        except (OSError, pa.ArrowInvalid):
            raise RecordingError(f"{path}: missing or not a Parquet file") from None
        except ValueError as problem:
            raise RecordingError(f"{path}: {problem}") from None

    def _older(self, name: str, stored: Collection[str]) -> OlderTable:
        profile = self.run.get("profile", {})
        return OlderTable(name, profile.get("decode_allocates"), stored)

    def audit_rows(self, numbers: Collection[int]) -> dict[int, dict[str, Any]]:
        """Read the audits of these numbers, by number.

        Raises:
            RecordingError: the table is missing, or has none or several of a number.
        """
        path = self.directory / "audits.parquet"
        try:
            rows = pq.read_table(path, filters=[("audit", "in", set(numbers))]).to_pylist()
        except (OSError, pa.ArrowInvalid):
            raise RecordingError(f"{path}: missing or not a Parquet file") from None
        found = Counter(row["audit"] for row in rows)
        for number in numbers:
            if found[number] != 1:
                raise RecordingError(
                    f"{path}: has {found[number]} audits of number {number}, not one"
                )
        return {row["audit"]: row for row in rows}

    def summary(self) -> dict[str, Any]:
        """Read summary.json.

        Raises:
            RecordingError: it is missing or broken.
        """
        path = self.directory / "summary.json"
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RecordingError(f"{path}: missing or not valid JSON") from None
        if not isinstance(summary, dict):
            raise RecordingError(f"{path}: not a JSON object")
        return summary


def _no_column(path: Path, column: str) -> str:
    return f"{path}: not a table of this version: no column {column}"


@contextmanager
def recording_directory(
    out: Path | Place | None, besides: Sequence[tuple[Place, Path]] = ()
) -> Iterator[Path]:
    """A directory to record into, moved to `out` when all went well, else removed.

    Without `out` the directory lives as long as the block. An earlier recording at `out` is
    replaced; anything else there is left alone. What is in `besides` by the end of the block is put
    into its place as well: all, or nothing.

    Raises:
        OutputError: `out` cannot be written, or holds something that is not a recording.
    """
    if out is None:
        with scratch() as working:
            yield working
            put_together(besides)
    elif isinstance(out, Place):
        working = out.folder()
        yield working
        put_together([(out, working), *besides])
    else:
        with (
            hold(out, RECORDING, makes_folders=True) as place,
            recording_directory(place, besides) as working,
        ):
            yield working
