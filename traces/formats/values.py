"""Checked values of a log's fields. A value that cannot be used raises `RowSkipped` with the reason.

Numbers may be JSON numbers, Parquet values or text, because the same value is a number in one
export and text in another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from traces.formats.reader import LogReader, RowSkipped
from traces.schema import TIME_US_MAX, TOKENS_MAX

#: Numbers with longer text are not measurements.
_NUMBER_CHARACTERS_MAX = 64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def read_tokens(fields: Mapping[str, Any], name: str, *, if_zero: str | None = None) -> int:
    """Return a token count of at least 1.

    Args:
        fields: the row.
        name: which field.
        if_zero: the reason if the count is 0, in the terms of the format.

    Raises:
        RowSkipped: it is missing, not a whole number, 0, negative or too large for int32.
    """
    value = read_whole_number(fields, name)
    if value == 0:
        raise RowSkipped(if_zero or f"{name} is 0")
    if value < 0:
        raise RowSkipped(f"{name} is negative")
    if value > TOKENS_MAX:
        raise RowSkipped(f"{name} is out of range")
    return value


def read_whole_number(fields: Mapping[str, Any], name: str) -> int:
    """Return an integer of any size; `7`, `7.0` and `"7"` are the same.

    Raises:
        RowSkipped: it is missing or not a whole number.
    """
    value = fields.get(name)
    if type(value) is int:
        return value
    number = _number(value, name, "a whole number")
    if number != number.to_integral_value():
        raise RowSkipped(f"{name} is not a whole number")
    return int(number)


def read_time_us(fields: Mapping[str, Any], name: str, units_per_s: int) -> int:
    """Return a time given as a number, in microseconds, rounded half to even.

    Args:
        fields: the row.
        name: which field.
        units_per_s: 1 for seconds, 1000 for milliseconds, 10**9 for nanoseconds.

    Raises:
        RowSkipped: it is missing, not a number, negative or out of range.
    """
    value = fields.get(name)
    if type(value) is int and units_per_s <= 1_000_000:
        time_us = value * (1_000_000 // units_per_s)
    else:
        number = _number(value, name, "a number")
        if abs(number) > TIME_US_MAX:
            raise RowSkipped(f"{name} is negative or out of range")
        time_us = int((number * 1_000_000 / units_per_s).to_integral_value())
    if not 0 <= time_us <= TIME_US_MAX:
        raise RowSkipped(f"{name} is negative or out of range")
    return time_us


def read_date_time_us(fields: Mapping[str, Any], name: str) -> int:
    """Return an ISO 8601 date and time as microseconds since 1970, in UTC if it has no offset.

    Digits beyond microseconds are cut off.

    Raises:
        RowSkipped: it is missing, not a date and time, or before 1970.
    """
    value = fields.get(name)
    if isinstance(value, str) and value.strip():
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise RowSkipped(f"{name} is not a date and time") from None
    if value is None or value == "":
        raise RowSkipped(f"{name} is missing")
    if not isinstance(value, datetime):
        raise RowSkipped(f"{name} is not a date and time")
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    time_us = (value - _EPOCH) // _MICROSECOND
    if time_us < 0:
        raise RowSkipped(f"{name} is before 1970")
    return time_us


def read_identity(value: object) -> str | None:
    """Return an id as text, or None if there is none.

    Text, whole numbers (also written as 7.0) and UTF-8 bytes are ids; null, empty text and all
    other values are not.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(value, str):
        # JSON can contain half of a surrogate pair, which cannot be written to a file.
        return value.encode("utf-8", "backslashreplace").decode("utf-8") or None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 2**128 else None
    return None


def read_mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a nested JSON object.

    Raises:
        RowSkipped: it is missing or not an object.
    """
    value = fields.get(name)
    if value is None:
        raise RowSkipped(f"{name} is missing")
    if not isinstance(value, Mapping):
        raise RowSkipped(f"{name} is not an object")
    return value


def _number(value: object, name: str, wanted: str) -> Decimal:
    """Return a finite number exactly as it was written."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise RowSkipped(f"{name} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise RowSkipped(f"{name} is not {wanted}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RowSkipped(f"{name} is not {wanted}")
    # repr of a float is the shortest text with that value, as in the log.
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if len(text) > _NUMBER_CHARACTERS_MAX:
        raise RowSkipped(f"{name} is not {wanted}")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise RowSkipped(f"{name} is not {wanted}") from None
    if not number.is_finite() or abs(number.adjusted()) > _NUMBER_CHARACTERS_MAX:
        raise RowSkipped(f"{name} is not {wanted}")
    return number


def read_planned_tokens(
    reader: LogReader, fields: Mapping[str, Any], generated: str, limit: object
) -> int:
    """Return the number of tokens that an aborted request would have generated without the abort.

    This is its limit, if the log has one. Otherwise it is the number of tokens generated, at least
    1, and the row is counted as changed. Call this after reading all other fields of the row.

    Args:
        reader: the reader, at this row.
        fields: the row.
        generated: the field with the tokens generated before the abort; it may be missing or 0.
        limit: the maximum number of tokens to generate, if the log has it.

    Raises:
        RowSkipped: the number of generated tokens is not a token count.
    """
    tokens = 1
    if fields.get(generated) not in (None, 0, "0"):
        tokens = read_tokens(fields, generated)
    if type(limit) is int and tokens <= limit <= TOKENS_MAX:
        return limit
    reader.note("aborted, and its planned output is unknown: kept with the tokens generated so far")
    return tokens


def check_cancel_us(cancel_us: int, arrival_us: int) -> int:
    """Return the time of an abort after checking it.

    Raises:
        RowSkipped: it is before the arrival, or out of range.
    """
    if not arrival_us <= cancel_us <= TIME_US_MAX:
        raise RowSkipped("it was aborted before it arrived")
    return cancel_us
