"""Made-up logs of BurstGPT, Bailian, Dynamo, AIPerf and Baseten, and what becomes of each row.

Each table lists rows in file order, every one with its outcome: the request it becomes (`kept`) or
the reason for which it is skipped. All are readable, the ugly ones too.
"""

import collections
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trace_helpers import as_plain

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.importers.hashes import chain_hashes
from traces.importers.pipeline import import_logs
from traces.importers.registry import FORMATS, load_format
from traces.importers.sample import take_sample
from traces.importers.source import find_log_file
from traces.prefixes import child_key

T0_MS = 1_790_000_000_000
T0_NS = T0_MS * 10**6


def kept(identity, arrival_us, input_tokens, output_tokens, hashes=None, session=None, cancel=None):
    """The request of a row; identity None: named by the row's number."""
    return (identity, arrival_us, input_tokens, output_tokens, hashes, session, cancel, None)


def chained(*ids):
    return chain_hashes(np.array(ids, np.uint64)).tolist()


def import_bytes(folder, blobs, name="auto"):
    """Import logs given as bytes; return the report and the rows of the trace."""
    logs = []
    for number, blob in enumerate(blobs):
        log = folder / f"log{number}"
        log.write_bytes(blob)
        logs.append(log)
    out = folder / "out.parquet"
    report = import_logs(logs, out, name)
    trace = open_trace(out)
    trace.validate()
    return report, list(map(as_plain, trace.iter_requests()))


def outcomes(name, table):
    """The rows that a table's file becomes, sorted by arrival, and its skipped rows by reason."""
    rows = [
        (outcome[0] or f"{name}-{number:06d}", *outcome[1:])
        for number, (_, outcome) in enumerate(table)
        if isinstance(outcome, tuple)
    ]
    skipped = collections.Counter(outcome for _, outcome in table if isinstance(outcome, str))
    return sorted(rows, key=lambda row: row[1]), skipped


def check_table(folder, name, table, blob):
    """Import a table's file, told from its content, and compare every row and count."""
    report, rows = import_bytes(folder, [blob])
    wanted, skipped = outcomes(name, table)
    assert report.format == name
    assert rows == wanted
    assert {reason: count.rows for reason, count in report.skipped.items()} == skipped
    assert report.rows_read == len(table) >= 20
    assert report.rows_written == len(wanted)
    return report


def check_only_match(folder, name, blob):
    """The file is told to be of one format, and of no other."""
    log = folder / "sample"
    log.write_bytes(blob)
    sample = take_sample(find_log_file(log))
    assert [other for other in FORMATS if load_format(other).matches(sample)] == [name]


def check_compressed(folder, name, table, blob):
    """gzip and zstd are the same file, whatever they are called."""
    for codec in ("gzip", "zstd"):
        check_table(folder, name, table, compress(blob, codec))
    check_table(folder, name, table, compress(blob[:5000], "gzip") + compress(blob[5000:], "gzip"))
    with pytest.raises(TraceError, match="it is cut short or damaged"):
        import_bytes(folder, [compress(blob, "zstd")[:-20]], name)


def check_text(folder, name, table, blob, crlf_blob, cut_bytes):
    """Line ends, a byte order mark, a last line that is cut, and files without rows."""
    check_only_match(folder, name, blob)
    check_table(folder, name, table, crlf_blob)
    check_table(folder, name, table, b"\xef\xbb\xbf" + blob.removesuffix(b"\n"))
    report, rows = import_bytes(folder, [blob[:-cut_bytes]])
    wanted, skipped = outcomes(name, table[:-1])
    assert rows == wanted
    assert {reason: count.rows for reason, count in report.skipped.items()} == {
        **skipped,
        "the last line is cut short": 1,
    }
    check_without_rows(folder, name, [b"", b"\n\r\n", compress(b"", "gzip")])


def check_without_rows(folder, name, blobs):
    """Files without a row are refused in one sentence, and nothing is left behind."""
    (folder / "out.parquet").unlink(missing_ok=True)
    for blob in blobs:
        with pytest.raises(TraceError, match=rf"no row .* as {name} \(there are no rows\)"):
            import_bytes(folder, [blob], name)
    assert not [path.name for path in folder.iterdir() if "out" in path.name]


def compress(blob, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(blob)
    return sink.getvalue().to_pybytes()


def json_lines(rows, end="\n"):
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()


def parquet(rows, schema, **options):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, **options)
    return sink.getvalue()


# BurstGPT

BURSTGPT_HEADER = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
)
_CHAT = "Conversation log"

#: Times count from a day long before the log, so the trace starts at its first arrival.
BURSTGPT_FIRST_US = 5_000_000

BURSTGPT = [
    (
        "5,s-1,9,ChatGPT,472,18,490," + _CHAT,
        kept(None, 5_000_000 - BURSTGPT_FIRST_US, 472, 18, session="s-1"),
    ),
    (
        "5,s-2,4,GPT-4,417,276,693," + _CHAT,
        kept(None, 5_000_000 - BURSTGPT_FIRST_US, 417, 276, session="s-2"),
    ),
    (
        "45.0,,3,ChatGPT,1087,230,1317,API log",
        kept(None, 45_000_000 - BURSTGPT_FIRST_US, 1087, 230),
    ),
    ("46.5,,3,ChatGPT,95,0,95,API log", "Response tokens is 0: the request failed"),
    ("47,,,GPT-4,0,0,0," + _CHAT, "Response tokens is 0: the request failed"),
    ("47,,1,GPT-4,0,3,3," + _CHAT, "Request tokens is 0"),
    # Time runs backwards.
    (
        "12,s-1,2,ChatGPT,500,20,520," + _CHAT,
        kept(None, 12_000_000 - BURSTGPT_FIRST_US, 500, 20, session="s-1"),
    ),
    # A row twice: rows have no id, so both count.
    ("60,,1,ChatGPT,10,1,11,API log", kept(None, 60_000_000 - BURSTGPT_FIRST_US, 10, 1)),
    ("60,,1,ChatGPT,10,1,11,API log", kept(None, 60_000_000 - BURSTGPT_FIRST_US, 10, 1)),
    (",s-3,1,ChatGPT,10,1,11," + _CHAT, "Timestamp is missing"),
    ("61,s-3,1,ChatGPT,,1,11," + _CHAT, "Request tokens is missing"),
    ("62,s-3,1,ChatGPT,10,,11," + _CHAT, "Response tokens is missing"),
    ("63,s-3,1,ChatGPT,ten,1,11," + _CHAT, "Request tokens is not a whole number"),
    ("-1,s-3,1,ChatGPT,10,1,11," + _CHAT, "Timestamp is negative or out of range"),
    ("nan,s-3,1,ChatGPT,10,1,11," + _CHAT, "Timestamp is not a number"),
    ("64,s-3,1,ChatGPT,10,-4,11," + _CHAT, "Response tokens is negative"),
    ("65,s-3,1,ChatGPT,10,2147483648,11," + _CHAT, "Response tokens is out of range"),
    (
        '66,"sesión, 会話",1,ChatGPT,7.0,2,9,' + _CHAT,
        kept(None, 66 * 10**6 - BURSTGPT_FIRST_US, 7, 2, session="sesión, 会話"),
    ),
    (
        "67, s-1 ,1,ChatGPT, 8 ,2,10," + _CHAT,
        kept(None, 67_000_000 - BURSTGPT_FIRST_US, 8, 2, session="s-1"),
    ),
    (
        "19440301.0,s-9,12,GPT-4,880,410,1290," + _CHAT,
        kept(None, 19440301 * 10**6 - BURSTGPT_FIRST_US, 880, 410, session="s-9"),
    ),
    (
        "70,🙂,x,,3,2147483647,,",
        kept(None, 70_000_000 - BURSTGPT_FIRST_US, 3, 2**31 - 1, session="🙂"),
    ),
    ("1e2,,1,ChatGPT,10,1,11,API log", kept(None, 100_000_000 - BURSTGPT_FIRST_US, 10, 1)),
]


def burstgpt(end="\n"):
    return "".join(line + end for line in (BURSTGPT_HEADER, *(row for row, _ in BURSTGPT))).encode()


# Bailian


def _chat(chat, parent, timestamp, length, output, ids, **more):
    return {
        "chat_id": chat,
        "parent_chat_id": parent,
        "timestamp": timestamp,
        "input_length": length,
        "output_length": output,
        "type": "text",
        "turn": 1 if parent == -1 else 2,
        "hash_ids": ids,
        **more,
    }


def _without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


BAILIAN = [
    (
        _chat(12, -1, 3.125, 40, 210, [17, 18, 19]),
        kept("12", 3_125_000, 40, 210, chained(17, 18, 19), "12"),
    ),
    (
        _chat(57, 12, 61.114, 33, 33, [17, 18, 902]),
        kept("57", 61_114_000, 33, 33, chained(17, 18, 902), "12"),
    ),
    (
        _chat(60, 57, 70, 48, 1, [17, 18, 903]),
        kept("60", 70_000_000, 48, 1, chained(17, 18, 903), "12"),
    ),
    # An id of its block alone: 902 and 18 once more, after other blocks.
    (
        _chat(58, -1, 61.114, 32, 4, [902, 18]),
        kept("58", 61_114_000, 32, 4, chained(902, 18), "58"),
    ),
    (
        _chat(59, -1, 62.0, 32, 0, [902, 18], type="file"),
        "output_length is 0: nothing was generated",
    ),
    # Its parent was skipped, but is known.
    (_chat(61, 59, 63, 16, 2, [902]), kept("61", 63_000_000, 16, 2, chained(902), "59")),
    # Two turns of one missing parent.
    (_chat(62, 7, 64, 16, 2, [904]), kept("62", 64_000_000, 16, 2, chained(904), "7")),
    (_chat(63, 7, 64, 16, 2, [904]), kept("63", 64_000_000, 16, 2, chained(904), "7")),
    # The parent stands later.
    (_chat(64, 65, 80, 16, 2, [905]), kept("64", 80_000_000, 16, 2, chained(905), "65")),
    (_chat(65, -1, 79, 16, 2, [906]), kept("65", 79_000_000, 16, 2, chained(906), "65")),
    # Its own parent, and a ring of two.
    (_chat(66, 66, 81, 16, 2, [907]), kept("66", 81_000_000, 16, 2, chained(907), "66")),
    (_chat(67, 68, 82, 16, 2, [908]), kept("67", 82_000_000, 16, 2, chained(908), "68")),
    (_chat(68, 67, 83, 16, 2, [909]), kept("68", 83_000_000, 16, 2, chained(909), "68")),
    (_chat(12, -1, 84, 16, 2, [910]), "its request id was there before"),
    (
        _without(_chat(0, -1, 85, 16, 2, [911]), "chat_id", "type", "turn"),
        kept(None, 85_000_000, 16, 2, chained(911)),
    ),
    (
        _without(_chat(0, 57, 86, 16, 2, [912]), "chat_id"),
        kept(None, 86_000_000, 16, 2, chained(912), "12"),
    ),
    (
        _without(_chat(69, -1, 87, 16, 2, [913]), "parent_chat_id"),
        kept("69", 87_000_000, 16, 2, chained(913), "69"),
    ),
    (_chat(70, None, 88, 16, 2, None), kept("70", 88_000_000, 16, 2, None, "70")),
    (_chat(71, -1, None, 16, 2, [914]), "timestamp is missing"),
    (_chat(72, -1, 89, 16.5, 2, [914]), "input_length is not a whole number"),
    # Without a hash for the partial block, it gets one of its own.
    (
        _chat(73, -1, 90, 40, 2, [17, 18]),
        kept("73", 90_000_000, 40, 2, chained(17, 18, child_key(18, 20)), "73"),
    ),
    (_chat(74, -1, 91, 40, 2, [17]), kept("74", 91_000_000, 40, 2, None, "74")),
    (
        _chat("聊天\ud800", -1, 1, 16, 2, ["a"]),
        kept("聊天\\ud800", 1_000_000, 16, 2, None, "聊天\\ud800"),
    ),
    (_chat([1], {"a": 1}, 92, 16, 2, [[1]]), kept(None, 92_000_000, 16, 2)),
]


def bailian(end="\n"):
    return "".join(json.dumps(row) + end for row, _ in BAILIAN).encode()


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
        "event_type is tool_start: no request",
    ),
    (_other("tool_end", tool={"status": "succeeded"}), "event_type is tool_end: no request"),
    (_sunk(_other("tool_error")), "event_type is tool_error: no request"),
    (
        _sunk(_other("request_payload", payload={"request_id": "a", "request": "secret"})),
        "event_type is request_payload: no request",
    ),
    (_sunk(_other("surprise")), "event_type is not request_end"),
    (_sunk(_other(["tool_end"])), "event_type is not request_end"),
    (_sunk("text"), "event is not an object"),
    (_sunk(None), "event is missing"),
    (_sunk(_other("request_end")), "request is missing"),
    (_sunk(_other("request_end", request=[])), "request is not an object"),
    (_sunk(_end("a", 4200, 64, 3, [6])), "its request id was there before"),
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
        "benchmark_phase is warmup: not of the measured load",
    ),
    (_call("a", 110 * _MS, 10**9, _CLIENT), "its request id was there before"),
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


# Baseten

BASETEN_SCHEMA = pa.schema(
    {
        "timestamp_start_unix_ms": pa.int64(),
        "prompt": pa.string(),
        "input_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "total_hashes": pa.list_(pa.uint64()),
        "block_size": pa.int64(),
        "provided_session_id": pa.string(),
        "poor_man_session_id": pa.int64(),
        "request_canceled": pa.int8(),
        "duration_e2e_ms": pa.int64(),
    }
)


def _completion(start, length, output, hashes, session=None, size=128, canceled=0, duration=900):
    return {
        "timestamp_start_unix_ms": None if start is None else T0_MS + start,
        "prompt": f"prompt {start} é",
        "input_tokens": length,
        "output_tokens": output,
        "total_hashes": hashes,
        "block_size": size,
        "provided_session_id": session,
        "poor_man_session_id": 1,
        "request_canceled": canceled,
        "duration_e2e_ms": duration,
    }


BASETEN = [
    # Hashes of the prompt and of the answer: the block in which the answer begins is left out.
    (
        _completion(1000, 300, 40, [811, 4, 9120], "u-1"),
        kept(None, 1_000_000, 300, 40, chained(811, 4, child_key(4, 0)), "u-1"),
    ),
    (
        _completion(1000, 256, 200, [811, 4, 5, 6], "u-1"),
        kept(None, 1_000_000, 256, 200, chained(811, 4), "u-1"),
    ),
    # Hashes of the prompt only, up to its partial block.
    (
        _completion(2500, 300, 400, [811, 4, 9121], "セッション"),
        kept(None, 2_500_000, 300, 400, chained(811, 4, 9121), "セッション"),
    ),
    # Earlier than the rows before it.
    (_completion(0, 64, 5, None, size=None), kept(None, 0, 64, 5)),
    (_completion(1, 64, 5, [], size=None), kept(None, 1000, 64, 5)),
    (_completion(2, 64, 5, [1], size=None), kept(None, 2000, 64, 5)),
    (_completion(3, 64, 5, [1], size=0), kept(None, 3000, 64, 5)),
    (_completion(4, 64, 5, [1, 2, 3]), kept(None, 4000, 64, 5)),
    (_completion(5, 64, 5, [1], size=64), kept(None, 5000, 64, 5)),
    (_completion(6, 128, 5, [2**64 - 1]), kept(None, 6000, 128, 5, chained(2**64 - 1))),
    (_completion(7, 128, 5, [None]), kept(None, 7000, 128, 5)),
    # Cancelled before and after the first token, and at an unknown time.
    (
        _completion(8, 520, 0, [811, 4, 7, 8, 9], canceled=1, duration=300),
        kept(None, 8000, 520, 1, chained(811, 4, 7, 8, child_key(8, 11)), None, 308_000),
    ),
    (_completion(9, 64, 7, None, canceled=1, duration=0), kept(None, 9000, 64, 7, cancel=9000)),
    (_completion(10, 64, 7, None, canceled=1, duration=None), kept(None, 10_000, 64, 7)),
    (
        _completion(11, 64, 0, None, canceled=1, duration=None),
        "output_tokens is 0: nothing was generated",
    ),
    (_completion(12, 64, 0, None), "output_tokens is 0: nothing was generated"),
    (
        _completion(13, 64, 7, None, canceled=1, duration=-1),
        "duration_e2e_ms is negative or out of range",
    ),
    (
        _completion(14, 64, 7, None, canceled=1, duration=2**52),
        kept(None, 14_000, 64, 7, cancel=14_000 + 2**52 * 1000),
    ),
    (
        _completion(15, 64, 7, None, canceled=1, duration=2**62 // 1000),
        "duration_e2e_ms is out of range",
    ),
    (_completion(None, 64, 7, None), "timestamp_start_unix_ms is missing"),
    (_completion(16, None, 7, None), "input_tokens is missing"),
    (_completion(17, 64, None, None), "output_tokens is missing"),
    (_completion(18, -64, 7, None), "input_tokens is negative"),
    (_completion(19, 2**40, 7, None), "input_tokens is out of range"),
    # The same row twice: rows have no id, so both count.
    (_completion(20, 64, 7, None, "u-2"), kept(None, 20_000, 64, 7, session="u-2")),
    (_completion(20, 64, 7, None, "u-2"), kept(None, 20_000, 64, 7, session="u-2")),
    (_completion(21, 64, 7, None, "", canceled=None), kept(None, 21_000, 64, 7)),
]


def baseten(**options):
    return parquet([row for row, _ in BASETEN], BASETEN_SCHEMA, **options)


def samples():
    """Format name -> the bytes of a readable file of it."""
    return {
        "burstgpt": burstgpt(),
        "bailian": bailian(),
        "dynamo": dynamo(),
        "aiperf": aiperf(),
        "baseten": baseten(),
    }
