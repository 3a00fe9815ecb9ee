"""Plain tables with columns named by the user: CSV, JSON Lines and Parquet.

A field of a request is read from the column that `--map` assigns to it, otherwise from the column
with the name of the field. Times may be in any of these fields:

    arrival_us  arrival_ms  arrival_s  arrival_ns   a number, from any zero
    arrival_time                                    ISO 8601, UTC if it has no offset
    cancel_us   ...   cancel_time                   when the client aborted; null if it did not

`block_hashes` (a list of integers; in CSV: integers separated by spaces) requires `--block-size`. A
row without a request id gets the id `request-<file>-<row from 0>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from traces.errors import TraceError
from traces.formats.base import LogFormat, Sample
from traces.formats.hashes import read_block_hashes
from traces.formats.reader import LogReader, RowSkipped
from traces.formats.values import (
    read_date_time_us,
    read_identity,
    read_time_us,
    read_tokens,
    read_whole_number,
)
from traces.schema import METADATA_BLOCK_SIZE, TOKENS_MAX, TraceRequest

_UNITS_PER_S = {"us": 1_000_000, "ms": 1000, "s": 1, "ns": 10**9}
_TIME_SUFFIXES = (*_UNITS_PER_S, "time")
_ARRIVALS = tuple(f"arrival_{suffix}" for suffix in _TIME_SUFFIXES)
_CANCELS = tuple(f"cancel_{suffix}" for suffix in _TIME_SUFFIXES)

#: Every field that a column can be mapped to.
FIELDS = (
    "request_id",
    *_ARRIVALS,
    "input_tokens",
    "output_tokens",
    "block_hashes",
    "session_id",
    *_CANCELS,
    "priority",
)


class PlainColumns:
    """The assignment of a table's columns to the fields of a request."""

    def __init__(self, reader: LogReader, block_size: int | None = None) -> None:
        """Use the user's map, and the block size that the log itself declares.

        Raises:
            TraceError: the map has an unknown field, or one field twice.
        """
        self._reader = reader
        self._block_size = reader.options.block_size or block_size
        self._columns = {field: field for field in FIELDS}
        mapped: dict[str, str] = {}
        for column, field in reader.options.column_map.items():
            if field not in FIELDS:
                raise TraceError(f"--map: unknown field {field!r}; known: {', '.join(FIELDS)}")
            if field in mapped:
                raise TraceError(
                    f"--map: {field} is assigned to {mapped[field]!r} and to {column!r}; choose one"
                )
            mapped[field] = column
        # A column assigned to another field is not also the field with its own name.
        for column in mapped.values():
            self._columns.pop(column, None)
        self._columns.update(mapped)
        self._arrival = _only_one(_ARRIVALS, mapped)
        self._cancel = _only_one(_CANCELS, mapped)

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        return list(self._columns.values())

    def to_request(self, row: Mapping[str, Any]) -> TraceRequest:
        """Convert one row; see `LogReader.requests`."""
        fields = {field: row.get(column) for field, column in self._columns.items()}
        arrival_us = _time_us(fields, self._given(fields, self._arrival) or self._arrival[0])
        input_tokens = read_tokens(fields, "input_tokens")
        output_tokens = read_tokens(fields, "output_tokens")
        cancel_us = None
        cancel = self._given(fields, self._cancel)
        if cancel is not None:
            cancel_us = _time_us(fields, cancel)
            if cancel_us < arrival_us:
                raise RowSkipped(f"{cancel} is before the arrival")
        return TraceRequest(
            request_id=self._identity(fields),
            arrival_us=arrival_us,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            block_hashes=self._hashes(fields.get("block_hashes"), input_tokens),
            session_id=self._read_id(fields, "session_id", "kept without it"),
            cancel_us=cancel_us,
            priority=_priority(fields),
        )

    def _identity(self, fields: Mapping[str, Any]) -> str:
        identity = self._read_id(fields, "request_id", "kept with a new one")
        return self._reader.make_id("request") if identity is None else identity

    def _read_id(self, fields: Mapping[str, Any], name: str, otherwise: str) -> str | None:
        value = fields.get(name)
        identity = read_identity(value)
        if identity is None and value not in (None, ""):
            self._reader.note(f"{name} is neither text nor a whole number: {otherwise}")
        return identity

    @staticmethod
    def _given(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
        """Return the first of these fields that has a value."""
        return next((name for name in names if fields.get(name) not in (None, "")), None)

    def _hashes(self, values: Any, input_tokens: int) -> Any:
        if values is None or values == "":
            return None
        if self._block_size is None:
            raise TraceError(
                f"{self._reader.log.path}: has block hashes but no block size; "
                "say how many tokens one hash covers with --block-size"
            )
        if isinstance(values, str):
            try:
                values = [int(word) for word in values.split()]
            except ValueError:
                values = ""
        return read_block_hashes(
            self._reader, "block_hashes", values, input_tokens, self._block_size
        )


def _only_one(names: tuple[str, ...], mapped: Mapping[str, str]) -> tuple[str, ...]:
    """Return the mapped one of several fields for the same time; all if none was mapped."""
    chosen = tuple(name for name in names if name in mapped)
    if len(chosen) > 1:
        raise TraceError(f"--map: {' and '.join(chosen)} are the same time; choose one")
    return chosen or names


def _time_us(fields: Mapping[str, Any], name: str) -> int:
    suffix = name.rpartition("_")[2]
    if suffix == "time":
        return read_date_time_us(fields, name)
    return read_time_us(fields, name, _UNITS_PER_S[suffix])


def _priority(fields: Mapping[str, Any]) -> int | None:
    if fields.get("priority") in (None, ""):
        return None
    value = read_whole_number(fields, "priority")
    if not -128 <= value <= 127:
        raise RowSkipped("priority is not from -128 to 127")
    return value


def _is_request(names: Iterable[str]) -> bool:
    """Whether columns with these names form a request without `--map`."""
    found = set(names)
    return {"input_tokens", "output_tokens"} <= found and not found.isdisjoint(_ARRIVALS)


def _read_csv(reader: LogReader) -> Iterator[TraceRequest]:
    columns = PlainColumns(reader)
    return reader.requests(reader.csv_rows(columns.names), columns.to_request)


def _read_jsonl(reader: LogReader) -> Iterator[TraceRequest]:
    return reader.requests(reader.json_rows(), PlainColumns(reader).to_request)


def _read_parquet(reader: LogReader) -> Iterator[TraceRequest]:
    # A trace of kvreplay declares the block size in its footer.
    text = reader.parquet_metadata().get(METADATA_BLOCK_SIZE.encode(), b"").decode("latin-1")
    is_block_size = text.isdecimal() and 1 <= int(text[:19]) <= TOKENS_MAX
    columns = PlainColumns(reader, int(text) if is_block_size else None)
    return reader.requests(reader.parquet_rows(columns.names), columns.to_request)


def _format(
    source: str,
    matches: Callable[[Sample], bool],
    read: Callable[[LogReader], Iterator[TraceRequest]],
) -> LogFormat:
    return LogFormat(source, matches, read, is_wall_clock=False, takes_block_size=True)


def _has_request_objects(sample: Sample) -> bool:
    return any(map(_is_request, sample.objects))


CSV = _format("csv", lambda sample: _is_request(sample.header), _read_csv)
JSONL = _format("jsonl", _has_request_objects, _read_jsonl)
PARQUET = _format("parquet", lambda sample: _is_request(sample.parquet_columns), _read_parquet)
