"""Mooncake request logs (FAST'25), as published with the Mooncake paper's open-source release.

One JSON object a line:

    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 48, ...]}

    timestamp      arrival, milliseconds from the start of the log; many requests share one
    input_length   prompt tokens
    output_length  generated tokens
    hash_ids       one id per 512 prompt tokens, the last block may be partial. An id stands for a
                   block and everything before it, so two requests that share an id share the
                   whole prefix: they are taken over as block hashes unchanged. (In the published
                   conversation log every id has one and the same predecessor throughout.)

Field meanings: the trace README of the Mooncake project; checked on the 12,031 rows of its
conversation trace. A row's `hash_ids` may be absent: its block hashes are then null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from traces.errors import TraceError
from traces.importers.base import ImportedLog, ImportTally, OnProgress
from traces.schema import TOKENS_MAX, TraceRequest, block_count

#: Tokens one hash id covers.
BLOCK_SIZE = 512

_TIMESTAMP_MS_MAX = 2**62 // 1000
_PROGRESS_ROWS = 512


def open_mooncake(source: Path, tally: ImportTally, on_progress: OnProgress) -> ImportedLog:
    """Open a Mooncake JSONL log; its rows become requests `mooncake-<row number from 0>`.

    Rows that are JSON objects but cannot be requests (no output, missing or wrong fields) are
    told to `tally`.

    Raises:
        TraceError: while iterating, when a line is not a JSON object or the file cannot be read.
    """
    return ImportedLog("mooncake", BLOCK_SIZE, _read_rows(source, tally, on_progress))


def _read_rows(source: Path, tally: ImportTally, on_progress: OnProgress) -> Iterator[TraceRequest]:
    bytes_read = 0
    try:
        with source.open("rb") as stream:
            for line_number, line in enumerate(stream, start=1):
                bytes_read += len(line)
                if line_number % _PROGRESS_ROWS == 0:
                    on_progress(bytes_read)
                if not line.strip():
                    continue
                fields = _parse_line(source, line_number, line)
                request = _to_request(fields, tally, line_number)
                tally.rows_read += 1
                if request is not None:
                    yield request
    except OSError as problem:
        raise TraceError(
            f"{source}: cannot be read ({problem.strerror}); check the path and its permissions"
        ) from problem
    on_progress(bytes_read)


def _parse_line(source: Path, line_number: int, line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig" if line_number == 1 else "utf-8")
        fields = json.loads(text)
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except json.JSONDecodeError as error:
        problem = f"is not JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError):
        problem = "is not JSON that can be read"
    else:
        if isinstance(fields, dict):
            return fields
        problem = "is not a JSON object"
    raise TraceError(
        f"{source}: line {line_number} {problem}; a Mooncake log has one JSON object per line, "
        "repair or remove the line"
    )


def _to_request(
    fields: dict[str, Any], tally: ImportTally, line_number: int
) -> TraceRequest | None:
    """Return the row as a request, or None after telling the tally why it is none."""
    reason = _reason_to_skip(fields)
    if reason is not None:
        tally.skip(reason, line_number)
        return None
    hash_ids = fields.get("hash_ids")
    return TraceRequest(
        request_id=f"mooncake-{tally.rows_read:06d}",
        arrival_us=round(fields["timestamp"] * 1000),
        input_tokens=fields["input_length"],
        output_tokens=fields["output_length"],
        block_hashes=None if hash_ids is None else np.array(hash_ids, np.uint64),
    )


def _reason_to_skip(fields: dict[str, Any]) -> str | None:
    for name in ("timestamp", "input_length", "output_length"):
        if fields.get(name) is None:
            return f"{name} is missing"
    timestamp = fields["timestamp"]
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        return "timestamp is not a number"
    if not math.isfinite(timestamp) or not 0 <= timestamp <= _TIMESTAMP_MS_MAX:
        return "timestamp is negative or out of range"
    for name in ("input_length", "output_length"):
        value = fields[name]
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{name} is not a whole number"
        if value < 1:
            return f"{name} is 0" if value == 0 else f"{name} is negative"
        if value > TOKENS_MAX:
            return f"{name} is out of range"
    hash_ids = fields.get("hash_ids")
    if hash_ids is None:
        return None
    if not isinstance(hash_ids, list) or not all(
        type(hash_id) is int and 0 <= hash_id < 2**64 for hash_id in hash_ids
    ):
        return "hash_ids is not a list of whole numbers from 0 to 2**64 - 1"
    if len(hash_ids) != block_count(fields["input_length"], BLOCK_SIZE):
        return f"hash_ids are not one per {BLOCK_SIZE} tokens of input_length"
    return None
