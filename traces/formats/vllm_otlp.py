"""vLLM OpenTelemetry spans: OTLP JSON lines written by the OpenTelemetry collector's `file` exporter.

vLLM started with `--otlp-traces-endpoint` sends one span per request, when it ends. A line is a
batch of spans, of any service that sends to the collector:

    {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "llm_request", "startTimeUnixNano":
     "1790000000250113024", "attributes": [{"key": "gen_ai.request.id", "value": {"stringValue":
     "cmpl-1"}}, {"key": "gen_ai.usage.prompt_tokens", "value": {"intValue": "563"}}, ...]}]}]}]}

    startTimeUnixNano                arrival: when the frontend has tokenised the prompt
    endTimeUnixNano                  when the last output was processed
    gen_ai.request.id                the request id. Sequences of one request (`n` > 1) share it;
                                     all but the first are skipped as repeated
    gen_ai.usage.prompt_tokens, gen_ai.usage.completion_tokens    token counts
    gen_ai.request.max_tokens        limit of the latter
    gen_ai.response.finish_reasons   JSON in a string, such as `["stop"]`; not in older versions,
                                     which have no spans of aborted requests either

A row is a span. A span is a request if it is named `llm_request` or has a request id and prompt
tokens (SGLang's `--enable-trace` uses other names); other spans are skipped. For a request that
ends with `abort`, `cancel_us` is its end. A request that ends with `error`, or whose span has an
error status, failed and is skipped. vLLM drops spans if its export queue is full.

Source: vllm-project/vllm, `vllm/v1/engine/output_processor.py` (`OutputProcessor.do_tracing`) at
commit bef65387 and `vllm/tracing/utils.py` (`SpanAttributes`) at 0bf3270f; SGLang 0.5.23,
`srt/managers/tokenizer_manager.py` (`convert_to_span_attrs`). Encoding: OTLP 1.x, "JSON Protobuf
Encoding": 64-bit integers are text, though numbers are read as well, and empty fields are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from traces.formats.base import LogFormat, Sample
from traces.formats.reader import LogReader, RowSkipped
from traces.formats.values import (
    check_cancel_us,
    read_identity,
    read_planned_tokens,
    read_time_us,
    read_tokens,
    read_whole_number,
)
from traces.schema import TraceRequest

_REQUEST_ID = "gen_ai.request.id"
_PROMPT_TOKENS = "gen_ai.usage.prompt_tokens"
_COMPLETION_TOKENS = "gen_ai.usage.completion_tokens"
_MAX_TOKENS = "gen_ai.request.max_tokens"
_FINISH_REASONS = "gen_ai.response.finish_reasons"

#: `STATUS_CODE_ERROR`, as a number and by its name.
_ERROR_CODES = (2, "2", "STATUS_CODE_ERROR")


def _matches(sample: Sample) -> bool:
    return any("resourceSpans" in row for row in sample.objects)


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(span: object) -> TraceRequest:
        if not isinstance(span, dict):
            raise RowSkipped("it is not a span")
        values = _attributes(span)
        if span.get("name") != "llm_request" and not {_REQUEST_ID, _PROMPT_TOKENS} <= values.keys():
            raise RowSkipped("the span is not an LLM request")
        arrival_us = read_time_us(span, "startTimeUnixNano", 10**9)
        if arrival_us == 0:
            raise RowSkipped("startTimeUnixNano is 0: the span has no start")
        input_tokens = read_tokens(values, _PROMPT_TOKENS)
        cancel_us = None
        finish_reasons = _finish_reasons(values)
        if "abort" in finish_reasons:
            end_us = read_time_us(span, "endTimeUnixNano", 10**9)
            cancel_us = check_cancel_us(end_us, arrival_us)
            output_tokens = read_planned_tokens(reader, values, _COMPLETION_TOKENS, _limit(values))
        else:
            if "error" in finish_reasons or _has_error(span):
                raise RowSkipped("the request failed: the span or its finish reason is an error")
            output_tokens = read_tokens(
                values,
                _COMPLETION_TOKENS,
                if_zero=f"{_COMPLETION_TOKENS} is 0: nothing was generated",
            )
        return TraceRequest(
            request_id=read_identity(values.get(_REQUEST_ID)) or reader.make_id("vllm-otlp"),
            arrival_us=arrival_us,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cancel_us=cancel_us,
        )

    return reader.requests(_spans(reader.json_rows()), to_request)


def _spans(batches: Iterable[Mapping[str, Any]]) -> Iterator[object]:
    """Yield every span; anything else in the place of a span is yielded as None."""
    for batch in batches:
        if "resourceSpans" not in batch:
            yield None
        for resource in _items(batch, "resourceSpans"):
            for scope in _items(resource, "scopeSpans"):
                yield from _items(scope, "spans")


def _items(fields: object, name: str) -> list[object]:
    """Return the items of a repeated field, which is absent if it has none."""
    if not isinstance(fields, dict):
        return [None]
    items = fields.get(name)
    if items is None:
        return []
    return items if isinstance(items, list) else [None]


def _attributes(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return a span's attributes by name; values other than text and numbers become None."""
    values = {}
    for attribute in _items(span, "attributes"):
        if not isinstance(attribute, dict) or not isinstance(attribute.get("key"), str):
            continue
        value = attribute.get("value")
        if isinstance(value, dict):
            kinds = ("intValue", "doubleValue", "stringValue")
            value = next((value[kind] for kind in kinds if kind in value), None)
        values[attribute["key"]] = value
    return values


def _finish_reasons(values: Mapping[str, Any]) -> list[object]:
    try:
        reasons = json.loads(values[_FINISH_REASONS])
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return reasons if isinstance(reasons, list) else [reasons]


def _limit(values: Mapping[str, Any]) -> int | None:
    try:
        return read_whole_number(values, _MAX_TOKENS)
    except RowSkipped:
        return None


def _has_error(span: Mapping[str, Any]) -> bool:
    status = span.get("status")
    return isinstance(status, dict) and status.get("code") in _ERROR_CODES


FORMAT = LogFormat("vllm-otlp", _matches, _read)
