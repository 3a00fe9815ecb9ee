"""What a log format is, and the beginning of a file, from which its format is detected."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traces.errors import TraceError
from traces.formats.csv_records import split_header
from traces.formats.source import LogFile
from traces.parquet_batches import DAMAGE, open_parquet

if TYPE_CHECKING:
    from traces.formats.reader import LogReader
    from traces.schema import TraceRequest

_SAMPLE_BYTES = 64 * 1024
_SAMPLE_LINES = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """The data by which a format recognizes its files.

    Attributes:
        head: first bytes, decompressed.
        objects: JSON objects of the first lines, if the first line is one.
        header: cells of the first line, if it is text but not JSON.
        parquet_columns: column names, if the file is Parquet.
    """

    head: bytes
    objects: tuple[dict[str, Any], ...] = ()
    header: tuple[str, ...] = ()
    parquet_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogFormat:
    """One format of logs.

    Attributes:
        source: the source note of traces made from it.
        matches: whether a file has this format, judged by its beginning.
        read: yields a file's rows as requests, in the order of the file, and reports every skipped
            row to the reader. Arrivals need not be sorted.
        is_wall_clock: arrivals count from 1970; the trace then starts at 0.
        takes_block_size: the user may give the number of tokens a block hash covers.
    """

    source: str
    matches: Callable[[Sample], bool]
    read: Callable[[LogReader], Iterator[TraceRequest]]
    is_wall_clock: bool = True
    takes_block_size: bool = False


def take_sample(log: LogFile) -> Sample:
    """Read the beginning of a file.

    Raises:
        TraceError: the file cannot be read.
    """
    with log.open() as stream:
        head = stream.read(_SAMPLE_BYTES)
    if head.startswith(b"PAR1"):
        try:
            with log.as_seekable() as path, open_parquet(path) as parquet:
                return Sample(head, parquet_columns=tuple(parquet.schema_arrow.names))
        except DAMAGE as problem:
            raise TraceError(
                f"{log.path}: starts like a Parquet file but has no readable footer; it is "
                "truncated or damaged, copy it again"
            ) from problem
    objects = []
    header: tuple[str, ...] = ()
    if b"\x00" not in head[:_SAMPLE_BYTES]:
        for line in itertools.islice(log.iter_lines(), _SAMPLE_LINES):
            text = line.data.decode("utf-8", "replace").strip()
            if not text:
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                objects.append(row)
            elif not objects and not header:
                header = _cells(text)
    return Sample(head, objects=tuple(objects), header=header if not objects else ())


def _cells(text: str) -> tuple[str, ...]:
    try:
        return tuple(split_header(text))
    except csv.Error:
        return ()
