"""Plain CSV tables (comma, semicolon or tab) with a header; the columns are those of `traces.formats.plain`."""

from __future__ import annotations

from collections.abc import Iterator

from traces.formats.base import LogFormat
from traces.formats.plain import PlainColumns, matches_fields
from traces.formats.reader import LogReader
from traces.formats.sample import Sample
from traces.schema import TraceRequest


def _matches(sample: Sample) -> bool:
    return matches_fields(sample.header)


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    columns = PlainColumns(reader)
    return reader.requests(reader.csv_rows(columns.names), columns.to_request)


FORMAT = LogFormat("csv", _matches, _read, is_wall_clock=False, takes_block_size=True)
