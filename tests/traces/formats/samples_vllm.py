"""Made-up spans of vLLM and of other services, and what becomes of every one of them."""

import json

from samples_engine_rows import GONE, REPEATED, T0, json_lines, kept, present

# vLLM OpenTelemetry spans.

OTHER_SPAN = "the span is not an LLM request"
NO_TOKENS = "gen_ai.usage.completion_tokens is 0: nothing was generated"
FAILED_SPAN = "the request failed: the span or its finish reason is an error"


def _value(value):
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    if isinstance(value, dict):
        return value
    return {kinds[type(value)]: str(value) if isinstance(value, int) else value}


def span(
    rid, at_s, input_tokens, output_tokens, name="llm_request", *, end_s=None, more=None, **changes
):
    """A span of vLLM, changed as told; GONE leaves a field or an attribute out."""
    attributes = {
        "gen_ai.latency.time_to_first_token": 0.081,
        "gen_ai.latency.e2e": 1.23,
        "gen_ai.usage.prompt_tokens": input_tokens,
        "gen_ai.usage.completion_tokens": output_tokens,
        "gen_ai.request.id": rid,
        "gen_ai.request.max_tokens": 128,
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.n": 1,
        **(more or {}),
    }
    start_ns = round((T0 + at_s) * 10**6) * 1000
    fields = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "parentSpanId": "",
        "name": name,
        "kind": 2,
        "startTimeUnixNano": str(start_ns + 17),
        "endTimeUnixNano": str(start_ns + round(((end_s or at_s + 1) - at_s) * 10**9)),
        "attributes": [
            {"key": key, "value": _value(value)} for key, value in present(attributes).items()
        ],
        "status": {},
        **changes,
    }
    return present(fields)


def reasons_of(*names):
    return {"gen_ai.response.finish_reasons": json.dumps(names)}


VLLM_OTLP = [
    (span("cmpl-1", 0.5, 563, 41), kept("cmpl-1", 0.5, 563, 41)),
    (span("cmpl-2", 0.25, 12, 300), kept("cmpl-2", 0.25, 12, 300)),
    (span(GONE, 1, GONE, GONE, "POST /v1/completions"), OTHER_SPAN),
    (span(GONE, 1, GONE, GONE, "Load model", attributes=GONE), OTHER_SPAN),
    (span("cmpl-2", 2, 12, 300), REPEATED),
    (span("cmpl-3", 2, 13, 5, more=reasons_of("stop")), kept("cmpl-3", 2, 13, 5)),
    (
        span("cmpl-4", 2, 14, 5, end_s=3.5, more=reasons_of("abort"), status={"code": 2}),
        kept("cmpl-4", 2, 14, 128, None, 3.5),
    ),
    (
        span("cmpl-5", 2, 15, 5, more={**reasons_of("abort"), "gen_ai.request.max_tokens": GONE}),
        kept("cmpl-5", 2, 15, 5, None, 3),
    ),
    (
        span("cmpl-6", 2, 14, 0, end_s=1, more=reasons_of("abort")),
        "it was aborted before it arrived",
    ),
    (span("cmpl-7", 2, 14, 5, status={"code": 2, "message": "boom"}), FAILED_SPAN),
    (span("cmpl-8", 2, 14, 5, more=reasons_of("error")), FAILED_SPAN),
    (span("cmpl-9", 2, 14, 0), NO_TOKENS),
    (span("emb", 2, 14, GONE), "gen_ai.usage.completion_tokens is missing"),
    (span(GONE, 2.5, 16, 6), kept("vllm-otlp-000013", 2.5, 16, 6)),
    (span("日本\ud83d", 2.5, 17, 6), kept("日本\\ud83d", 2.5, 17, 6)),
    (
        span("sg", 2.5, 18, 6, " Req 9f0c1b7a", more={"gen_ai.response.model": "qwen"}),
        kept("sg", 2.5, 18, 6),
    ),
    (
        span("n", 2.75, {"intValue": 19}, {"doubleValue": 7.0}, startTimeUnixNano=(T0 + 3) * 10**9),
        kept("n", 3, 19, 7),
    ),
    (span("a1", 2, {"stringValue": "many"}, 6), "gen_ai.usage.prompt_tokens is not a whole number"),
    (span("a2", 2, {"arrayValue": {}}, 6), "gen_ai.usage.prompt_tokens is missing"),
    (span("a3", 2, 10**12, 6), "gen_ai.usage.prompt_tokens is out of range"),
    (span("a4", 2, 5, 6, startTimeUnixNano=GONE), "startTimeUnixNano is missing"),
    (span("a5", 2, 5, 6, startTimeUnixNano="0"), "startTimeUnixNano is 0: the span has no start"),
    (
        span("a6", 2, 5, 6, attributes=[None, {"key": [1]}, 7]),
        "gen_ai.usage.prompt_tokens is missing",
    ),
    ("a span", "it is not a span"),
    (span({"intValue": "77"}, 0, 5, 6), kept("77", 0, 5, 6)),
]


def batches(spans, per_line=3, line_end="\n"):
    """Lines of the collector: batches of spans, in two scopes each."""
    lines = []
    for start in range(0, len(spans), per_line):
        batch = spans[start : start + per_line]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "vllm ☕"}}]}
        scopes = [{"scope": {"name": "vllm"}, "spans": batch[:1]}, {"spans": batch[1:]}, {}]
        lines.append({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}, {}]})
    return json_lines(lines, line_end)
