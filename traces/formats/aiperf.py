"""AIPerf per-request records, `profile_export.jsonl`: the requests that a load generator sent.

One JSON object a line, in no order; absent keys stand for null:

    {"metadata": {"x_request_id": "0d9c1d52-...", "x_correlation_id": "c0ffee00-...",
                  "conversation_id": "session_000000", "request_start_ns": 1790000000000000000,
                  "request_end_ns": 1790000000900000000, "benchmark_phase": "profiling",
                  "was_cancelled": false},
     "metrics": {"usage_prompt_tokens": {"value": 563, "unit": "tokens"},
                 "usage_completion_tokens": {"value": 41, "unit": "tokens"}}}

    x_request_id           the request
    x_correlation_id       the conversation as it was sent; `conversation_id` is the entry of the
                           data set, used again when that is sampled again, and taken only where
                           there is no x_correlation_id
    request_start_ns       arrival, nanoseconds since 1970
    cancellation_time_ns   when the client went away, on the same clock; only if `was_cancelled`
    benchmark_phase        rows of `warmup` come before what was measured: skipped and counted
    error                  the request failed: skipped, unless the client itself cancelled it
    metrics                prompt and generated tokens, the server's counts before the client's

A cancelled request has no count of what it generated, nor, unless AIPerf ran in developer mode
(`requested_osl`), of what it would have: it is kept with 1 and counted as changed.

Source: aiperf 0.13.0, `common/models/record_models.py` (MetricRecordInfo, MetricRecordMetadata),
`records/record_processor_service.py` (`_create_metric_record_metadata`: every time is
perf_counter carried over to the clock of request_start_ns, so no end precedes its start),
`post_processors/record_export_jsonl_writer.py`, `transports/aiohttp_client.py` (a cancelled
request carries error 499 too), `metrics/types/*`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from traces.formats.base import LogFormat, Sample
from traces.formats.reader import LogReader, RowSkipped
from traces.formats.values import read_identity, read_mapping, read_time_us, read_tokens
from traces.schema import TraceRequest

_NS_PER_S = 10**9

#: Metrics with a token count, in order of preference. Rows with an error only have `error_isl`.
_INPUT = ("usage_prompt_tokens", "input_sequence_length", "error_isl")
_OUTPUT = ("usage_completion_tokens", "output_sequence_length", "output_token_count")
_OUTPUT_CANCELLED = ("requested_osl", *_OUTPUT)


def _matches(sample: Sample) -> bool:
    return any(
        isinstance(row.get("metadata"), dict)
        and "request_start_ns" in row["metadata"]
        and "metrics" in row
        for row in sample.objects
    )


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(fields: dict[str, Any]) -> TraceRequest:
        metadata = read_mapping(fields, "metadata")
        if metadata.get("benchmark_phase") == "warmup":
            raise RowSkipped("benchmark_phase is warmup: not part of the measured load")
        is_cancelled = metadata.get("was_cancelled") is True
        if fields.get("error") is not None and not is_cancelled:
            raise RowSkipped(_failure(fields["error"]))
        metrics = read_mapping(fields, "metrics")
        arrival_us = read_time_us(metadata, "request_start_ns", _NS_PER_S)
        input_tokens = _tokens(metrics, _INPUT)
        cancel_us = None
        if is_cancelled:
            cancel_us = read_time_us(metadata, "cancellation_time_ns", _NS_PER_S)
            if cancel_us < arrival_us:
                raise RowSkipped("cancellation_time_ns is before request_start_ns")
            output_tokens = _cancelled_output_tokens(reader, metrics)
        else:
            output_tokens = _tokens(metrics, _OUTPUT)
        return TraceRequest(
            request_id=read_identity(metadata.get("x_request_id")) or reader.make_id("aiperf"),
            arrival_us=arrival_us,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            session_id=read_identity(metadata.get("x_correlation_id"))
            or read_identity(metadata.get("conversation_id")),
            cancel_us=cancel_us,
        )

    return reader.requests(reader.json_rows(), to_request)


def _tokens(metrics: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """The first of some metrics that has a value, as a token count."""
    for name in names:
        value = metrics.get(name)
        if isinstance(value, Mapping):
            value = value.get("value")
        if value is not None:
            return read_tokens({name: value}, name, if_zero=f"{name} is 0: there are no tokens")
    raise RowSkipped(f"{', '.join(names)} are missing")


def _cancelled_output_tokens(reader: LogReader, metrics: Mapping[str, Any]) -> int:
    """Return the planned output, else the generated tokens; 1 if neither is known."""
    try:
        return _tokens(metrics, _OUTPUT_CANCELLED)
    except RowSkipped:
        reader.note("cancelled, and its planned output is unknown: kept with 1 token")
        return 1


def _failure(error: object) -> str:
    """Return the reason of a failure; the number of different reasons is small for any file."""
    code = error.get("code") if isinstance(error, Mapping) else None
    if type(code) is int and 400 <= code <= 599:
        return f"the request failed (HTTP status {code})"
    return "the request failed"


FORMAT = LogFormat("aiperf", _matches, _read)
