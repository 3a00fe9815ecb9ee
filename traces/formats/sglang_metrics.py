r"""SGLang request metrics: the files of a server started with `--export-metrics-to-file`.

Files `sglang-request-metrics-<date>_<hour>.log`, one JSON object a line, written as requests end:

    {"request_parameters": "{\"rid\": \"r1\", \"text\": ...}", "id": "r1", "prompt_tokens": 9, ...}

    request_parameters   JSON in a string: the fields of the request that are not None, of which
                         `session_id`, `conversation_id`, `session_params.id` (the first there is),
                         `priority`, `sampling_params.max_new_tokens` and `input_ids` are read.
                         Prompts given as `input_ids` get block hashes (64 tokens a block, or
                         `--block-size`); those given as text get none
    id                   the request id
    prompt_tokens, completion_tokens   token counts; a request aborted in the queue has no first
    finish_reason        {"type": "stop" | "length" | "abort", ...}
    request_received_ts, request_finished_ts   seconds since 1970; `--enable-metrics` only
    response_sent_to_client_ts, e2e_latency    seconds; their difference stands in for the arrival,
                         which is right because a row without request_received_ts has the first of
                         them only when the whole answer was sent at once

An abort with a `status_code` was made by the server: the request failed and is skipped. Other
aborts came from `/abort_request`; `cancel_us` is then the end of the request. (A client that only
disconnects leaves no row.) Rows without tokens, such as those of the warm-up of `n` > 1, are
skipped.

Source: SGLang 0.5.23, `srt/observability/request_metrics_exporter.py`
(`RequestMetricsExporter._format_output_data`), `srt/managers/tokenizer_manager.py`
(`_stream_one_response`, `_handle_batch_output`, `_handle_abort_req`),
`srt/observability/req_time_stats.py` (`convert_to_output_meta_info`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from traces.formats.base import LogFormat, Sample
from traces.formats.hashes import hash_tokens
from traces.formats.reader import LogReader, RowSkipped
from traces.formats.values import (
    check_cancel_us,
    read_identity,
    read_mapping,
    read_planned_tokens,
    read_time_us,
    read_tokens,
)
from traces.schema import TraceRequest

#: Requests that differ in one of these fields share no prefix.
_CACHE_KEYS = ("extra_key", "cache_salt", "lora_path")

#: Longer values are not accepted as ids. (In a pickle, one text can be the id of every request.)
_ID_CHARACTERS_MAX = 1024


def _matches(sample: Sample) -> bool:
    return any(
        isinstance(row.get("request_parameters"), str) and {"id", "finish_reason"} <= row.keys()
        for row in sample.objects
    )


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(row: dict[str, Any]) -> TraceRequest:
        parameters = _parameters(row)
        arrival_us = _arrival_us(row)
        request = finished_request(
            reader,
            reader.make_id("sglang-metrics"),
            parameters or {},
            row,
            arrival_us,
            lambda: _end_us(row, arrival_us),
        )
        if parameters is None:
            reader.note(
                "request_parameters is not a JSON object: kept without session and priority"
            )
        return request

    return reader.requests(reader.json_rows(), to_request)


def finished_request(
    reader: LogReader,
    default_id: str,
    parameters: Mapping[str, Any],
    meta_info: Mapping[str, Any],
    arrival_us: int,
    read_end_us: Callable[[], int],
) -> TraceRequest:
    """Make a request from SGLang's data about a finished one; its dumps have the same data.

    Args:
        reader: the reader, at this row.
        default_id: the id if the request has none.
        parameters: fields of its `GenerateReqInput`.
        meta_info: the server's data about the request.
        arrival_us: time of arrival.
        read_end_us: returns the end; only called for aborts.

    Raises:
        RowSkipped: the request failed, generated nothing, or lacks a field.
    """
    cancel_us = None
    finish_reason = read_mapping(meta_info, "finish_reason")
    if finish_reason.get("type") == "abort":
        if finish_reason.get("status_code") is not None:
            raise RowSkipped("the server failed it: finish_reason is an abort with a status_code")
        cancel_us = check_cancel_us(read_end_us(), arrival_us)
    input_tokens = _input_tokens(parameters, meta_info)
    session_id = _identity(_session(parameters), "the session's id")
    request_id = _identity(meta_info.get("id"), "id") or default_id
    if cancel_us is not None:
        sampling = parameters.get("sampling_params")
        limit = sampling.get("max_new_tokens") if isinstance(sampling, Mapping) else None
        output_tokens = read_planned_tokens(reader, meta_info, "completion_tokens", limit)
    else:
        output_tokens = read_tokens(
            meta_info,
            "completion_tokens",
            if_zero="completion_tokens is 0: nothing was generated",
        )
    priority = parameters.get("priority")
    if priority is not None and not (type(priority) is int and -128 <= priority <= 127):
        reader.note("priority is not from -128 to 127: kept without it")
        priority = None
    return TraceRequest(
        request_id=request_id,
        arrival_us=arrival_us,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        block_hashes=hash_tokens(
            reader,
            parameters.get("input_ids"),
            input_tokens,
            tuple(parameters.get(name) for name in _CACHE_KEYS),
        ),
        session_id=session_id,
        cancel_us=cancel_us,
        priority=priority,
    )


def _parameters(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    try:
        parameters = json.loads(row["request_parameters"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return parameters if isinstance(parameters, dict) else None


def _arrival_us(row: Mapping[str, Any]) -> int:
    if row.get("request_received_ts") is not None:
        return read_time_us(row, "request_received_ts", 1)
    if row.get("response_sent_to_client_ts") is None:
        raise RowSkipped("it has no time: streamed requests need a server with --enable-metrics")
    sent_us = read_time_us(row, "response_sent_to_client_ts", 1)
    arrival_us = sent_us - read_time_us(row, "e2e_latency", 1)
    if arrival_us < 0:
        raise RowSkipped("e2e_latency is out of range")
    return arrival_us


def _end_us(row: Mapping[str, Any], arrival_us: int) -> int:
    if row.get("request_finished_ts") is not None:
        return read_time_us(row, "request_finished_ts", 1)
    return arrival_us + read_time_us(row, "e2e_latency", 1)


def _input_tokens(parameters: Mapping[str, Any], meta_info: Mapping[str, Any]) -> int:
    input_ids = parameters.get("input_ids")
    is_one_prompt = (
        isinstance(input_ids, list | tuple) and input_ids and isinstance(input_ids[0], int)
    )
    if meta_info.get("prompt_tokens") is None and is_one_prompt:
        return read_tokens({"input_ids": len(input_ids or ())}, "input_ids")
    return read_tokens(meta_info, "prompt_tokens")


def _session(parameters: Mapping[str, Any]) -> object:
    session_params = parameters.get("session_params")
    named = session_params.get("id") if isinstance(session_params, Mapping) else None
    return parameters.get("session_id") or parameters.get("conversation_id") or named


def _identity(value: object, name: str) -> str | None:
    if isinstance(value, str) and len(value) > _ID_CHARACTERS_MAX:
        raise RowSkipped(f"{name} is longer than {_ID_CHARACTERS_MAX} characters")
    return read_identity(value)


FORMAT = LogFormat("sglang-metrics", _matches, _read, takes_block_size=True)
