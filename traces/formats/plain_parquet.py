"""Plain Parquet tables, kvreplay's own traces among them; the columns are those of `traces.formats.plain`."""

from __future__ import annotations

from collections.abc import Iterator

from traces.formats.base import LogFormat
from traces.formats.plain import PlainColumns, matches_fields
from traces.formats.reader import LogReader
from traces.formats.sample import Sample
from traces.schema import METADATA_BLOCK_SIZE, TOKENS_MAX, TraceRequest


def _matches(sample: Sample) -> bool:
    return matches_fields(sample.parquet_columns)


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    columns = PlainColumns(reader, _declared_block_size(reader))
    return reader.requests(reader.parquet_rows(columns.names), columns.to_request)


def _declared_block_size(reader: LogReader) -> int | None:
    """What the footer says, when the file is a trace."""
    text = reader.parquet_metadata().get(METADATA_BLOCK_SIZE.encode(), b"").decode("latin-1")
    return int(text) if text.isdecimal() and 1 <= int(text[:19]) <= TOKENS_MAX else None


FORMAT = LogFormat("parquet", _matches, _read, is_wall_clock=False, takes_block_size=True)
