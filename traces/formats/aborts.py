"""Requests whose client went away, as logs of engines have them: an end, and a limit of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traces.formats.reader import LogReader
from traces.formats.tally import RowSkipped
from traces.formats.values import read_tokens
from traces.schema import TIME_US_MAX, TOKENS_MAX


def read_planned_tokens(
    reader: LogReader, fields: Mapping[str, Any], generated: str, limit: object
) -> int:
    """Return what an aborted request would have generated, so that its abort cuts it short.

    That is its limit where the log has it; else what it did generate, at least 1, and the row is
    counted as changed. Read everything else of the row before.

    Args:
        reader: where the row stands.
        fields: the row.
        generated: which field has the tokens generated until the abort; it may be missing or 0.
        limit: what the log has as the most tokens to generate, if anything.

    Raises:
        RowSkipped: the tokens generated are no token count.
    """
    tokens = 1
    if fields.get(generated) not in (None, 0, "0"):
        tokens = read_tokens(fields, generated)
    if type(limit) is int and tokens <= limit <= TOKENS_MAX:
        return limit
    reader.note("aborted, and nothing says how much it would have generated: kept as far as it got")
    return tokens


def check_cancel_us(cancel_us: int, arrival_us: int) -> int:
    """Return the time of an abort, once it is one.

    Raises:
        RowSkipped: it is before the arrival, or out of range.
    """
    if not arrival_us <= cancel_us <= TIME_US_MAX:
        raise RowSkipped("it was aborted before it arrived")
    return cancel_us
