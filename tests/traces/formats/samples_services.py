"""Made-up logs of NVIDIA Dynamo and AIPerf.

Each table lists rows in file order, every one with its outcome. All are readable, the ugly ones too.
"""

from sample_checks import json_lines, kept

from traces.hashing import child_key

T0_MS = 1_790_000_000_000
T0_NS = T0_MS * 10**6


# Dynamo

_BIG = 17_890_123_456_789_012_345


def _end(request_id, received, length, output, hashes, session=None, **request):
    """A bare record, as Dynamo's documentation shows it."""
    record = {
        "schema": "dynamo.request.trace.v1",
        "event_type": "request_end",
        "event_time_unix_ms": T0_MS + 9000,
        "request": {
            "request_id": request_id,
            "request_received_ms": T0_MS + received,
            "output_tokens": output,
            "replay": {
                "trace_block_size": 64,
                "input_length": length,
                "input_sequence_hashes": hashes,
            },
            **request,
        },
    }
    if session is not None:
        record["event_source"] = "dynamo"
        record["agent_context"] = session
    return record


def _sunk(event, timestamp=5012):
    """A record as the file sinks wrap it."""
    return {"timestamp": timestamp, "event": event}


def _other(event_type, **more):
    return {
        "schema": "dynamo.request.trace.v1",
        "event_type": event_type,
        "event_time_unix_ms": T0_MS,
        **more,
    }


def _replay(size, length, hashes):
    return {
        "trace_block_size": size,
        "input_length": length,
        "input_sequence_hashes": hashes,
    }


_CODER = {"session_id": "run-7:coder", "parent_session_id": "run-7:planner"}

DYNAMO = [
    (_sunk(_end("a", 1000, 150, 41, [_BIG, 9, 11])), kept("a", 1_000_000, 150, 41, [_BIG, 9, 11])),
    (
        _sunk(_end("b", 4000, 200, 12, [_BIG, 9, 44, 77], _CODER, model="m", ttft_ms=80.5)),
        kept("b", 4_000_000, 200, 12, [_BIG, 9, 44, 77], "run-7:coder"),
    ),
    # The order of ends: this one came first.
    (_end("c", 0, 64, 3, [5]), kept("c", 0, 64, 3, [5])),
    (
        _end("d", 4000, 64, 3, [6], {"trajectory_id": "run-8"}),
        kept("d", 4_000_000, 64, 3, [6], "run-8"),
    ),
    (_sunk(_end("e", 4100, 64, 0, [6])), "output_tokens is 0: nothing was generated"),
    (
        _sunk(_other("tool_start", tool={"tool_call_id": "t"})),
        "event_type is tool_start: not a request",
    ),
    (_other("tool_end", tool={"status": "succeeded"}), "event_type is tool_end: not a request"),
    (_sunk(_other("tool_error")), "event_type is tool_error: not a request"),
    (
        _sunk(_other("request_payload", payload={"request_id": "a", "request": "secret"})),
        "event_type is request_payload: not a request",
    ),
    (_sunk(_other("surprise")), "event_type is not request_end"),
    (_sunk(_other(["tool_end"])), "event_type is not request_end"),
    (_sunk("text"), "event is not an object"),
    (_sunk(None), "event is missing"),
    (_sunk(_other("request_end")), "request is missing"),
    (_sunk(_other("request_end", request=[])), "request is not an object"),
    (_sunk(_end("a", 4200, 64, 3, [6])), "its request id occurred before"),
    # Multimodal: no replay.
    (_end("f", 4300, 1, 3, [], replay=None, input_tokens=70), kept("f", 4_300_000, 70, 3)),
    (_end("g", 4400, 1, 3, [], replay="gone"), "input_tokens is missing"),
    (
        _end(
            "s",
            4450,
            0,
            3,
            [],
            replay={"trace_block_size": 64, "input_sequence_hashes": [1, 2]},
            input_tokens=70,
        ),
        kept("s", 4_450_000, 70, 3, [1, 2]),
    ),
    # Only full blocks hashed.
    (_end("h", 4500, 70, 3, [6]), kept("h", 4_500_000, 70, 3, [6, child_key(6, 19)])),
    (_end("i", 4600, 70, 3, [6, 7, 8]), kept("i", 4_600_000, 70, 3)),
    (_end("j", 4700, 70, 3, None, replay=_replay(32, 70, [1, 2, 3])), kept("j", 4_700_000, 70, 3)),
    (_end("k", 4800, 70, 3, None, replay=_replay(0, 70, [1])), kept("k", 4_800_000, 70, 3)),
    (_end("l", 4900, 70, 3, None, replay=_replay([64], 70, [1])), kept("l", 4_900_000, 70, 3)),
    (_end("m", 5000, 70, 3, [1.5, "x"]), kept("m", 5_000_000, 70, 3)),
    (_end("n", 5100, 70, 3, [2**64, 1]), kept("n", 5_100_000, 70, 3)),
    (_end("o", 5200, 70, 3, [1, 2], ["no"]), kept("o", 5_200_000, 70, 3, [1, 2])),
    (_end(None, 5300, 70, 3, [1, 2]), kept(None, 5_300_000, 70, 3, [1, 2])),
    (_end("要求-ü", 5400, 70, 3, [1, 2]), kept("要求-ü", 5_400_000, 70, 3, [1, 2])),
    (_end("p", 5500, 70, None, [1, 2]), "output_tokens is missing"),
    (
        _end("q", 5600, 70, 3, [1, 2], request_received_ms=None),
        "request_received_ms is missing",
    ),
    (_end("r", 5700, -70, 3, [1, 2]), "input_length is negative"),
]


def dynamo(end="\n"):
    return json_lines((row for row, _ in DYNAMO), end)


# AIPerf


def _call(name, start, end, metrics, error=None, **metadata):
    row = {
        "metadata": {
            "session_num": 0,
            "x_request_id": name,
            "request_start_ns": T0_NS + start,
            "request_end_ns": T0_NS + end,
            "worker_id": "worker_1a2b",
            "record_processor_id": "record_processor_3c4d",
            "benchmark_phase": "profiling",
            "was_cancelled": False,
            **metadata,
        },
        "metrics": {tag: {"value": value, "unit": "tokens"} for tag, value in metrics.items()},
    }
    if error is not None:
        row["error"] = error
    return row


def _cancelled(name, start, at, metrics, **metadata):
    error = {"code": 499, "type": "RequestCancellationError", "message": "Request cancelled"}
    times = {"was_cancelled": True, "cancellation_time_ns": T0_NS + at}
    return _call(name, start, at, metrics, error, **{**times, **metadata})


_USAGE = {"usage_prompt_tokens": 563, "usage_completion_tokens": 41}
_CLIENT = {"input_sequence_length": 550, "output_sequence_length": 40}
_MS = 10**6

AIPERF = [
    (
        _call("a", 900 * _MS, 10**9, _CLIENT | _USAGE, x_correlation_id="x1", conversation_id="s0"),
        kept("a", 900_000, 563, 41, session="x1"),
    ),
    (
        _call("b", 901 * _MS, 10**9, _CLIENT, conversation_id="s0"),
        kept("b", 901_000, 550, 40, session="s0"),
    ),
    # Not in the order of arrival.
    (_call("c", 0, 10**9, _CLIENT), kept("c", 0, 550, 40)),
    (
        _cancelled("d", 100 * _MS, 2600 * _MS, {"error_isl": 548}, x_correlation_id="x2"),
        kept("d", 100_000, 548, 1, session="x2", cancel=2_600_000),
    ),
    (
        _cancelled("e", 101 * _MS, 102 * _MS, {"error_isl": 548, "requested_osl": 256}),
        kept("e", 101_000, 548, 256, cancel=102_000),
    ),
    (
        _cancelled("f", 102 * _MS, 102 * _MS, {"error_isl": 548, "output_token_count": 7}),
        kept("f", 102_000, 548, 7, cancel=102_000),
    ),
    (
        _cancelled("g", 103 * _MS, 102 * _MS, {"error_isl": 548}),
        "cancellation_time_ns is before request_start_ns",
    ),
    (
        _cancelled("h", 104 * _MS, 105 * _MS, {"error_isl": 548}, cancellation_time_ns=None),
        "cancellation_time_ns is missing",
    ),
    (
        _call("i", 105 * _MS, 106 * _MS, {"error_isl": 9}, {"code": 503, "message": "busy"}),
        "the request failed (HTTP status 503)",
    ),
    (
        _call("j", 106 * _MS, 107 * _MS, {}, {"type": "TimeoutError", "message": "été"}),
        "the request failed",
    ),
    (_call("k", 107 * _MS, 108 * _MS, {}, {"code": 0, "message": "?"}), "the request failed"),
    (_call("l", 108 * _MS, 109 * _MS, {}, "odd"), "the request failed"),
    (
        _call("m", -(10**10), 0, _CLIENT, benchmark_phase="warmup"),
        "benchmark_phase is warmup: not part of the measured load",
    ),
    (_call("a", 110 * _MS, 10**9, _CLIENT), "its request id occurred before"),
    (
        _call("n", 111 * _MS, 10**9, {}),
        "usage_prompt_tokens, input_sequence_length, error_isl are missing",
    ),
    (
        _call("o", 112 * _MS, 10**9, {"input_sequence_length": 5}),
        "usage_completion_tokens, output_sequence_length, output_token_count are missing",
    ),
    (
        _call("p", 113 * _MS, 10**9, {**_CLIENT, "usage_completion_tokens": 0}),
        "usage_completion_tokens is 0: there are no tokens",
    ),
    (
        _call("q", 114 * _MS, 10**9, _CLIENT | {"usage_prompt_tokens": None}),
        kept("q", 114_000, 550, 40),
    ),
    (
        _call("r", 115 * _MS, 10**9, _CLIENT | {"usage_prompt_tokens": [1]}),
        "usage_prompt_tokens is not a whole number",
    ),
    (_call(None, 116 * _MS + 1501, 10**9, _CLIENT), kept(None, 116_002, 550, 40)),
    (
        _call("会話-ü", 117 * _MS, 10**9, _CLIENT, x_correlation_id=["x"]),
        kept("会話-ü", 117_000, 550, 40),
    ),
    ({**_call("s", 118 * _MS, 10**9, _CLIENT), "metrics": None}, "metrics is missing"),
    ({**_call("t", 119 * _MS, 10**9, _CLIENT), "metadata": [1]}, "metadata is not an object"),
    (
        _call("u", 120 * _MS, 10**9, _CLIENT, request_start_ns="soon"),
        "request_start_ns is not a number",
    ),
    (
        _call("v", 121 * _MS, 10**9, {"input_sequence_length": 5.5}),
        "input_sequence_length is not a whole number",
    ),
    ({**_call("w", 122 * _MS, 10**9, {}), "metrics": _CLIENT}, kept("w", 122_000, 550, 40)),
]


def aiperf(end="\n"):
    return json_lines((row for row, _ in AIPERF), end)


def samples():
    """Format name -> the bytes of a readable file of it."""
    return {"dynamo": dynamo(), "aiperf": aiperf()}
