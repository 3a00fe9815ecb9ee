"""A recording: the directory in which a replay writes down everything that was seen.

    run.json           what was replayed: trace hash, profile, plan, seed, phases, versions
    audits.parquet     one row for each audit of a pool
    events.parquet     one row for each completion as sent and as delivered
    owners.parquet     one row for each stay of a request's pages in a gap
    requests.parquet   one row for each request
    contents.parquet   one row for each read that found the wrong bytes
    episodes.parquet   one row for each gap from the audit that opens it to the one that closes it
    summary.json       the verdict

Nothing in it depends on the host or the wall clock but the `environment` key of run.json and the
`timing` key of summary.json. A recording appears whole or not at all: it is written beside its place
and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from faults.kinds import CompletionEvent, FaultRule
from replay.errors import RecordingError

RUN_SCHEMA = "kvreplay.run/1"
SUMMARY_SCHEMA = "kvreplay.summary/1"

_ROWS_PER_GROUP = 65_536
_WORD = pa.dictionary(pa.int16(), pa.string())

AUDITS_SCHEMA = pa.schema(
    {
        "audit": pa.int64(),
        "time_us": pa.int64(),
        "pool": _WORD,
        "phase": _WORD,
        "available": pa.int64(),
        "evictable": pa.int64(),
        "protected": pa.int64(),
        "live": pa.int64(),
        "in_transfer": pa.int64(),
        "gap": pa.int64(),
        "quiet": pa.bool_(),
        "iterations": pa.int64(),
        "engine_check": _WORD,
    }
)

EVENTS_SCHEMA = pa.schema(
    {
        "event": pa.int64(),
        "copy": pa.int32(),
        "request_id": pa.string(),
        "direction": _WORD,
        "pool": _WORD,
        "bootstrap_room": pa.int64(),
        "prefill_tp_rank": pa.int32(),
        "decode_tp_rank": pa.int32(),
        "pages": pa.int32(),
        "sent_us": pa.int64(),
        "due_us": pa.int64(),
        "delivered_us": pa.int64(),
        "failed": pa.bool_(),
        "fault": pa.string(),
        "rule": pa.string(),
        "result": _WORD,
    }
)

OWNERS_SCHEMA = pa.schema(
    {
        "pool": _WORD,
        "request_id": pa.string(),
        "share": _WORD,
        "pages": pa.int64(),
        "ledger_pages": pa.int64(),
        "state": _WORD,
        "opened_audit": pa.int64(),
        "opened_us": pa.int64(),
        "closed_audit": pa.int64(),
        "closed_us": pa.int64(),
        "ended_by": pa.string(),
        "can_progress": pa.bool_(),
    }
)

REQUESTS_SCHEMA = pa.schema(
    {
        "request_id": pa.string(),
        "cycle": pa.int32(),
        "bootstrap_room": pa.int64(),
        "prefill_pool": _WORD,
        "decode_pool": _WORD,
        "input_tokens": pa.int32(),
        "output_tokens": pa.int32(),
        "prompt_pages": pa.int32(),
        "prefix_pages": pa.int32(),
        "prefill_state": _WORD,
        "decode_state": _WORD,
        "arrival_us": pa.int64(),
        "preallocated_us": pa.int64(),
        "prefill_start_us": pa.int64(),
        "transfer_start_us": pa.int64(),
        "landed_us": pa.int64(),
        "consumed_us": pa.int64(),
        "running_us": pa.int64(),
        "ended_us": pa.int64(),
    }
)

CONTENTS_SCHEMA = pa.schema(
    {
        "time_us": pa.int64(),
        "pool": _WORD,
        "request_id": pa.string(),
        "pages": pa.int64(),
        "wrong_pages": pa.int64(),
    }
)

EPISODES_SCHEMA = pa.schema(
    {
        "episode": pa.int32(),
        "pool": _WORD,
        "direction": _WORD,
        "verdict": _WORD,
        "kinds": pa.string(),
        "opened_audit": pa.int64(),
        "opened_us": pa.int64(),
        "closed_audit": pa.int64(),
        "closed_us": pa.int64(),
        "widest_audit": pa.int64(),
        "gap_tokens": pa.int64(),
        "quiet_gap_tokens": pa.int64(),
        "owners": pa.int32(),
        "causes": pa.list_(pa.int64()),
    }
)

TABLES = {
    "audits": AUDITS_SCHEMA,
    "events": EVENTS_SCHEMA,
    "owners": OWNERS_SCHEMA,
    "requests": REQUESTS_SCHEMA,
    "contents": CONTENTS_SCHEMA,
}


class EventRow(NamedTuple):
    """One delivery of a completion event, or its loss."""

    number: int
    copy: int
    event: CompletionEvent
    failed: bool
    rules: tuple[FaultRule, ...]

    def to_tuple(self, delivered_us: int | None, result: str) -> tuple[object, ...]:
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
        )


class TableWriter:
    """One Parquet file, filled row by row in bounded memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[tuple[object, ...]] = []
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def append(self, row: tuple[object, ...]) -> None:
        """Add one row, in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is left and finish the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []


class RecordingWriter:
    """The tables of a recording under way."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tables = {
            name: TableWriter(directory / f"{name}.parquet", schema)
            for name, schema in TABLES.items()
        }
        self._expected: dict[tuple[int, int], EventRow] = {}
        # Bound once: these are the hot ones.
        self.audit = self._tables["audits"].append
        self.owner = self._tables["owners"].append
        self.request = self._tables["requests"].append
        self.content = self._tables["contents"].append

    def event(self, row: EventRow) -> None:
        """Write an event that was lost."""
        self._tables["events"].append(row.to_tuple(None, "lost"))

    def expect(self, row: EventRow) -> None:
        """Keep a delivery in mind until it arrives."""
        self._expected[row.number, row.copy] = row

    def delivered(self, row: EventRow, delivered_us: int, result: str) -> None:
        """Write a delivery that arrived, and what its receiver made of it."""
        del self._expected[row.number, row.copy]
        self._tables["events"].append(row.to_tuple(delivered_us, result))

    def close(self) -> None:
        """Write deliveries that never arrived, and finish every table."""
        for row in self._expected.values():
            self._tables["events"].append(row.to_tuple(None, "not before the end"))
        self._expected.clear()
        for table in self._tables.values():
            table.close()


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
        if not isinstance(run, dict) or run.get("schema") != RUN_SCHEMA:
            found = run.get("schema") if isinstance(run, dict) else type(run).__name__
            raise RecordingError(
                f"{directory}/run.json: schema is {found!r}, this version reads {RUN_SCHEMA!r}"
            )
        return cls(directory, run)

    def table(self, name: str) -> pa.Table:
        """Read one table whole, dictionary columns as plain strings.

        Raises:
            RecordingError: the file is missing or is not Parquet.
        """
        path = self.directory / f"{name}.parquet"
        try:
            table: pa.Table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid):
            raise RecordingError(f"{path}: missing or not a Parquet file") from None
        words = [
            pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ]
        plain: pa.Table = table.cast(pa.schema(words))
        return plain

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


@contextmanager
def recording_directory(out: Path | None) -> Iterator[Path]:
    """A directory to record into, moved to `out` when all went well, else removed.

    Without `out` the directory lives as long as the block. An earlier recording at `out` is
    replaced; anything else there is left alone.

    Raises:
        RecordingError: `out` cannot be written, or holds something that is not a recording.
    """
    if out is not None:
        check_replaceable(out)
    parent = out.parent if out is not None else None
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=".kvreplay-", dir=parent))
    except OSError as problem:
        raise RecordingError(f"{out}: cannot write a recording there: {problem.strerror}") from None
    try:
        yield working
        if out is not None:
            _sync(working)
            working.chmod(0o755)
            if out.exists():
                shutil.rmtree(out)
            working.rename(out)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Make sure that `out` may be written or replaced by a recording.

    Raises:
        RecordingError: it holds something else.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise RecordingError(f"{out}: is a file; a recording is a directory, name another one")
    if any(out.iterdir()) and not (out / "run.json").is_file():
        raise RecordingError(
            f"{out}: exists and is not a recording; name another directory or empty it"
        )


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a JSON document with a final newline."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _sync(directory: Path) -> None:
    """Have the files on disk before they get their name."""
    for path in sorted(directory.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
