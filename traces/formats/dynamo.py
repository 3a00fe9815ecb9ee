"""NVIDIA Dynamo request traces, schema `dynamo.request.trace.v1` (`DYN_REQUEST_TRACE=1`).

One JSON object a line. The file sinks (`.jsonl`, `.jsonl.gz` in many gzip members) wrap each record
as `{"timestamp": <ms since the sink started>, "event": {...}}`; stderr and the documentation show
the bare record. Both are read:

    {"schema": "dynamo.request.trace.v1", "event_type": "request_end", "event_time_unix_ms": ...,
     "agent_context": {"session_id": "run-7:coder"},
     "request": {"request_id": "5a1e7c", "request_received_ms": 1790000000000, "output_tokens": 41,
                 "replay": {"trace_block_size": 64, "input_length": 150,
                            "input_sequence_hashes": [17890123456789012345, ...]}}}

    event_type               `request_end`; tool events and payloads in the same file are not
                             requests, and are counted
    request_received_ms      arrival, milliseconds since 1970; rows stand in the order of their ends
    input_length             prompt tokens; `input_tokens` where a row has no `replay` (multimodal)
    output_tokens            generated tokens; of a cancelled stream those generated until then
    input_sequence_hashes    one per block, rolling: a hash names its block with everything before
                             it. The partial last block is hashed too
    agent_context            only when the caller sent session headers; early rows have a
                             `trajectory_id` instead of a `session_id`

No field says that a request failed or was cancelled, so there is no `cancel_us`. Hashes are keyed
when `DYN_REQUEST_TRACE_HASH_KEY_FILE` is set: logs of different keys share nothing.

Source: ai-dynamo/dynamo, `lib/llm/src/request_trace/{types,record,integration,replay}.rs` at
0366e63a, `lib/llm/src/telemetry/{jsonl,jsonl_gz}.rs` at 03b41453, `request-tracing.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.formats.base import LogFormat, Sample
from traces.formats.hashes import read_block_hashes, read_block_size
from traces.formats.reader import LogReader, RowSkipped
from traces.formats.values import read_identity, read_mapping, read_time_us, read_tokens
from traces.schema import TraceRequest

SCHEMA = "dynamo.request.trace.v1"

_REQUEST_END = "request_end"
_OTHER_EVENTS = ("tool_start", "tool_end", "tool_error", "request_payload")


def _matches(sample: Sample) -> bool:
    return any(
        SCHEMA in (row.get("schema"), _as_mapping(row.get("event")).get("schema"))
        for row in sample.objects
    )


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(fields: dict[str, Any]) -> TraceRequest:
        event = read_mapping(fields, "event") if "event" in fields else fields
        _check_event_type(event.get("event_type"))
        request = read_mapping(event, "request")
        replay = _as_mapping(request.get("replay"))
        arrival_us = read_time_us(request, "request_received_ms", 1000)
        if "input_length" in replay:
            input_tokens = read_tokens(replay, "input_length")
        else:
            input_tokens = read_tokens(request, "input_tokens")
        output_tokens = read_tokens(
            request, "output_tokens", if_zero="output_tokens is 0: nothing was generated"
        )
        context = _as_mapping(event.get("agent_context"))
        return TraceRequest(
            request_id=read_identity(request.get("request_id")) or reader.make_id("dynamo"),
            arrival_us=arrival_us,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            block_hashes=_hashes(reader, replay, input_tokens),
            session_id=read_identity(context.get("session_id"))
            or read_identity(context.get("trajectory_id")),
        )

    return reader.requests(reader.json_rows(), to_request)


def _check_event_type(event_type: object) -> None:
    """Skip events that are not requests."""
    if event_type in _OTHER_EVENTS:
        raise RowSkipped(f"event_type is {event_type}: not a request")
    if event_type != _REQUEST_END:
        # Without the value: the number of different reasons must stay small for any file.
        raise RowSkipped(f"event_type is not {_REQUEST_END}")


def _hashes(
    reader: LogReader, replay: Mapping[str, Any], input_tokens: int
) -> npt.NDArray[np.uint64] | None:
    block_size = read_block_size(reader, replay, "trace_block_size")
    if block_size is None:
        return None
    name = "input_sequence_hashes"
    return read_block_hashes(reader, name, replay.get(name), input_tokens, block_size)


def _as_mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


FORMAT = LogFormat("dynamo", _matches, _read)
