"""Baseten completion traces, Parquet, as AIPerf replays them (`baseten_trace`).

    timestamp_start_unix_ms   arrival, milliseconds since 1970
    prompt                    the text: never read here, whatever it holds
    input_tokens              prompt tokens
    output_tokens             generated tokens; may be 0 for a cancelled request
    total_hashes              optional: one hash per block_size tokens of prompt and answer
    block_size                optional: tokens one hash covers
    provided_session_id       optional: text or a number, as the client gave it
    request_canceled          optional: 1 when the client went away,
    duration_e2e_ms           optional: which it did this long after the arrival

Of hashes that go on into the answer, those of blocks wholly within the prompt are taken. A hash
may stand for its block alone, so they are chained (`chain_hashes`), which does no harm
where it does not. `poor_man_session_id` is an exporter's guess and not taken. Rows have no id and
become `baseten-<file>-<row from 0>`; they may stand in any order.

Source: aiperf 0.13.0, `dataset/loader/baseten_trace.py` (BasetenTrace; 0 output tokens of cancelled
requests), the earlier model of aiperf pull request 819 (request_canceled), and the recorder that
Baseten gave to ai-dynamo/dynamo, `lib/runtime/src/metrics/performance_metrics.rs` at 1d1c59fc
(`RequestMetric`: blocks of prompt and answer, hashed one by one, the partial last one too). No file
of this format is public: that the Parquet files hold what this recorder saw is inferred.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.formats.base import LogFormat, Sample
from traces.formats.hashes import chain_hashes, read_block_hashes, read_block_size
from traces.formats.reader import LogReader, RowSkipped
from traces.formats.values import (
    read_identity,
    read_time_us,
    read_tokens,
    read_whole_number,
)
from traces.schema import TIME_US_MAX, TraceRequest, block_count

_REQUIRED = ("timestamp_start_unix_ms", "input_tokens", "output_tokens")
_COLUMNS = (
    *_REQUIRED,
    "total_hashes",
    "block_size",
    "provided_session_id",
    "request_canceled",
    "duration_e2e_ms",
)


def _matches(sample: Sample) -> bool:
    return set(sample.parquet_columns) >= set(_REQUIRED)


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(fields: dict[str, Any]) -> TraceRequest:
        arrival_us = read_time_us(fields, "timestamp_start_unix_ms", 1000)
        input_tokens = read_tokens(fields, "input_tokens")
        cancel_us = _cancel_us(fields, arrival_us)
        if cancel_us is not None and read_whole_number(fields, "output_tokens") == 0:
            # The client left before the first token; the planned output is unknown.
            output_tokens = 1
        else:
            output_tokens = read_tokens(
                fields, "output_tokens", if_zero="output_tokens is 0: nothing was generated"
            )
        return TraceRequest(
            request_id=reader.make_id("baseten"),
            arrival_us=arrival_us,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            block_hashes=_hashes(reader, fields, input_tokens, output_tokens),
            session_id=read_identity(fields.get("provided_session_id")),
            cancel_us=cancel_us,
        )

    return reader.requests(reader.parquet_rows(_COLUMNS), to_request)


def _cancel_us(fields: dict[str, Any], arrival_us: int) -> int | None:
    """Return the time at which the client disconnected; None if it did not or if it is unknown."""
    if fields.get("request_canceled") not in (1, True) or fields.get("duration_e2e_ms") is None:
        return None
    cancel_us = arrival_us + read_time_us(fields, "duration_e2e_ms", 1000)
    if cancel_us > TIME_US_MAX:
        raise RowSkipped("duration_e2e_ms is out of range")
    return cancel_us


def _hashes(
    reader: LogReader, fields: dict[str, Any], input_tokens: int, output_tokens: int
) -> npt.NDArray[np.uint64] | None:
    values = fields.get("total_hashes")
    if not values:
        return None
    block_size = read_block_size(reader, fields, "block_size")
    if block_size is None:
        return None
    total_tokens = input_tokens + output_tokens
    if isinstance(values, list) and len(values) == block_count(total_tokens, block_size):
        # The block in which the answer begins belongs to no prompt.
        values = values[: input_tokens // block_size]
    return chain_hashes(read_block_hashes(reader, "total_hashes", values, input_tokens, block_size))


FORMAT = LogFormat("baseten", _matches, _read)
