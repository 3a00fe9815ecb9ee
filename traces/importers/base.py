"""The registry of log formats, and what every import shares: tally, order, output.

A format is a function `(source, tally, on_progress) -> ImportedLog` in a module of its own, imported
when it is used. It yields the rows it can use and tells the tally of every row it cannot.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from traces.errors import TraceError

if TYPE_CHECKING:
    from traces.schema import TraceRequest

#: Called now and then with the bytes of the source read so far.
OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LogFormat:
    """One entry of the registry.

    Attributes:
        reader: dotted name of the function that opens such a log.
        description: one line for help texts.
    """

    reader: str
    description: str


#: Format name -> where its reader is.
FORMATS: Mapping[str, LogFormat] = MappingProxyType(
    {
        "mooncake": LogFormat(
            "traces.importers.mooncake.open_mooncake",
            "Mooncake (FAST'25) JSONL: timestamp, input_length, output_length, hash_ids",
        ),
    }
)


@dataclass(slots=True)
class ImportTally:
    """What became of the rows of a log, filled while it is read.

    Attributes:
        rows_read: rows seen, good and bad; blank lines are not rows.
        skipped: reason -> number of rows that were left out for it.
        skipped_at: reason -> line number (from 1) of the first such row.
    """

    rows_read: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    skipped_at: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str, line_number: int) -> None:
        """Count one row that cannot be used."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        self.skipped_at.setdefault(reason, line_number)


@dataclass(frozen=True, slots=True)
class ImportedLog:
    """An open log: its rows as trace requests, in the order of the file, not yet sorted.

    Attributes:
        source: the footer's source note.
        block_size: tokens one block hash covers, or None when the log has no hashes.
        requests: the rows; iterating it fills the tally.
    """

    source: str
    block_size: int | None
    requests: Iterator[TraceRequest]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The outcome of one import; read = written + all skipped.

    Attributes:
        format: name of the format.
        rows_read: rows seen in the log.
        rows_written: requests in the trace.
        rows_reordered: rows that arrive before a row that stands earlier in the log.
        skipped: reason -> rows left out.
        skipped_at: reason -> line of the first of them, from 1.
    """

    format: str
    rows_read: int
    rows_written: int
    rows_reordered: int
    skipped: dict[str, int]
    skipped_at: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def import_log(
    format_name: str,
    source: str | Path,
    destination: str | Path,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Convert a log to a trace; rows out of time order are sorted stably (ties keep their order).

    Args:
        format_name: a key of `FORMATS`.
        source: the log.
        destination: Parquet file to make or replace, atomically.
        on_progress: see `OnProgress`.

    Raises:
        TraceError: unknown format, unreadable or malformed log, no usable row, or a destination
            that cannot be written or is the log itself.
    """
    from traces.writer import TraceWriter

    source = Path(source)
    if format_name not in FORMATS:
        raise TraceError(f"{source}: unknown format {format_name!r}; known: {', '.join(FORMATS)}")
    module_name, _, function_name = FORMATS[format_name].reader.rpartition(".")
    open_log = getattr(importlib.import_module(module_name), function_name)
    tally = ImportTally()
    _check_source(source, Path(destination))
    log: ImportedLog = open_log(source, tally, on_progress or (lambda done: None))
    # Logs are small against the traces they become part of; sorting needs them whole.
    requests = list(log.requests)
    if not requests:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in tally.skipped.items())
        raise TraceError(
            f"{source}: has no row that can be imported as {format_name} "
            f"({reasons or 'the file has no rows'}); check the file and --format"
        )
    reordered = 0
    latest_us = 0
    for request in requests:
        reordered += request.arrival_us < latest_us
        latest_us = max(latest_us, request.arrival_us)
    if reordered:
        requests.sort(key=lambda request: request.arrival_us)
    with TraceWriter(destination, source=log.source, block_size=log.block_size) as writer:
        for request in requests:
            writer.write(request)
    return ImportReport(
        format=format_name,
        rows_read=tally.rows_read,
        rows_written=len(requests),
        rows_reordered=reordered,
        skipped=dict(tally.skipped),
        skipped_at=dict(tally.skipped_at),
    )


def _check_source(source: Path, destination: Path) -> None:
    try:
        if source.is_dir():
            raise TraceError(f"{source}: is a directory; name the log file to import")
        if not source.exists():
            raise TraceError(f"{source}: no such file; name the log file to import")
        if destination.exists() and destination.samefile(source):
            raise TraceError(f"{destination}: is the log itself; choose another output file")
    except OSError as problem:
        raise TraceError(
            f"{source}: cannot be read ({problem.strerror}); check the path and its permissions"
        ) from problem
