"""Plain JSON lines, one object a request; the columns are those of `traces.formats.plain`."""

from __future__ import annotations

from collections.abc import Iterator

from traces.formats.base import LogFormat
from traces.formats.plain import PlainColumns, matches_fields
from traces.formats.reader import LogReader
from traces.formats.sample import Sample
from traces.schema import TraceRequest


def _matches(sample: Sample) -> bool:
    return any(matches_fields(row) for row in sample.objects)


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    columns = PlainColumns(reader)
    return reader.requests(reader.json_rows(), columns.to_request)


FORMAT = LogFormat("jsonl", _matches, _read, is_wall_clock=False, takes_block_size=True)
