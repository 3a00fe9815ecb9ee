"""Made-up logs of SGLang, and what becomes of every row of them.

Each table lists rows in file order, every one with its outcome: the request it becomes (`kept`) or
the reason for which it is skipped. All are readable, the ugly ones too; none was copied.
"""

import contextlib
import json
import pickle
import sys
import types

from samples_engine_rows import GONE, REPEATED, T0, kept, present

# SGLang `--export-metrics-to-file`.

ZERO = "completion_tokens is 0: nothing was generated"
FAILED = "the server failed it: finish_reason is an abort with a status_code"
NO_TIME = "it has no time: streamed requests need a server with --enable-metrics"
STOP = {"type": "stop", "matched": 151645}
LENGTH = {"type": "length", "length": 8}
ABORT = {"type": "abort", "message": "Aborted", "status_code": None, "err_type": None}
QUEUED = {"type": "abort", "message": "Abort in waiting queue"}


def metrics_row(rid, at_s, input_tokens, output_tokens, parameters=None, **changes):
    """A row of a streaming request on a server with metrics, changed as told."""
    took_s = 0.5 + output_tokens / 64 if isinstance(output_tokens, int) else 1
    parameters = {
        "rid": rid,
        "text": "Why is the sky blue? \U0001f926 été",
        "sampling_params": {"max_new_tokens": 512, "temperature": 0.7, "n": 1},
        "return_logprob": False,
        "stream": True,
        "received_time": 81234.551203,
        **(parameters or {}),
    }
    row = {
        "request_parameters": json.dumps(present(parameters)),
        "id": rid,
        "finish_reason": STOP,
        "prompt_tokens": input_tokens,
        "weight_version": "default",
        "queue_time": 0.0042,
        "completion_tokens": output_tokens,
        "cached_tokens": 0,
        "dp_rank": None,
        "e2e_latency": took_s,
        "request_received_ts": T0 + at_s,
        "request_finished_ts": T0 + at_s + took_s,
        "decode_throughput": 53.6,
        **changes,
    }
    return present(row)


def quiet(**changes):
    """What a row lacks on a server without metrics, or of a request aborted in the queue."""
    return {"request_received_ts": GONE, "request_finished_ts": GONE, **changes}


SGLANG_METRICS = [
    (metrics_row("r1", 0.5, 9, 31), kept("r1", 0.5, 9, 31)),
    (
        metrics_row("r2", 0.25, 900, 8, {"session_id": "s-17", "priority": 2}),
        kept("r2", 0.25, 900, 8, "s-17", None, 2),
    ),
    (
        metrics_row("r3", 1.0, 40, 32, finish_reason=ABORT),
        kept("r3", 1.0, 40, 512, None, 2.0),
    ),
    (metrics_row("r1", 1.5, 9, 31), REPEATED),
    (
        metrics_row("r4", 0, 4, 8, **quiet(response_sent_to_client_ts=T0 + 2.625)),
        kept("r4", 2.0, 4, 8),
    ),
    (
        metrics_row(
            "r5",
            0,
            GONE,
            0,
            {"input_ids": [1, 2, 3, 4, 5], "stream": False, "text": None},
            **quiet(finish_reason=QUEUED, e2e_latency=3.25),
            response_sent_to_client_ts=T0 + 5.5,
        ),
        kept("r5", 2.25, 5, 512, None, 5.5, token_ids=[1, 2, 3, 4, 5]),
    ),
    (
        metrics_row(
            "r6", 0, GONE, 0, **quiet(finish_reason=QUEUED), response_sent_to_client_ts=T0 + 6
        ),
        "prompt_tokens is missing",
    ),
    (metrics_row("r7", 0, 30, 20, **quiet()), NO_TIME),
    (metrics_row("r8", 3.0, 30, 20, finish_reason={**ABORT, "status_code": 503}), FAILED),
    (metrics_row("r9", 3.0, 30, 0, finish_reason=LENGTH), ZERO),
    (metrics_row("vec", 3.0, 30, GONE), "completion_tokens is missing"),
    (metrics_row(GONE, 3.5, 12, 7), kept("sglang-metrics-000011", 3.5, 12, 7)),
    (metrics_row(None, 3.5, 13, 7), kept("sglang-metrics-000012", 3.5, 13, 7)),
    (
        metrics_row("日本\ud83d", 4.0, 14, 7, {"session_params": {"id": "chat ☕", "offset": 0}}),
        kept("日本\\ud83d", 4.0, 14, 7, "chat ☕"),
    ),
    (
        metrics_row("a1", 4.25, 15, 7, {"conversation_id": "c", "priority": 300}),
        kept("a1", 4.25, 15, 7, "c"),
    ),
    (metrics_row("a2", 4.5, 16, 7, request_parameters="{"), kept("a2", 4.5, 16, 7)),
    (metrics_row("a3", 4.5, 17, 7, request_parameters=[1]), kept("a3", 4.5, 17, 7)),
    (metrics_row("a4", 4.5, 17.5, 7), "prompt_tokens is not a whole number"),
    (metrics_row("a5", 4.5, [17], 7), "prompt_tokens is not a whole number"),
    (
        metrics_row("a6", 4.5, 17, 7, request_received_ts=float("nan")),
        "request_received_ts is not a number",
    ),
    (metrics_row("a7", 4.5, 17, 10**30), "completion_tokens is out of range"),
    (metrics_row("a8", 4.5, 17, 7, finish_reason=None), "finish_reason is missing"),
    (metrics_row("a9", 4.5, 17, 7, finish_reason="stop"), "finish_reason is not an object"),
    (
        metrics_row("b1", 4.75, 18, 3, {"sampling_params": None}, finish_reason=ABORT),
        kept("b1", 4.75, 18, 3, None, 5.296875),
    ),
    (
        metrics_row("b2", 5, 18, 3, finish_reason=ABORT, request_finished_ts=T0 + 1),
        "it was aborted before it arrived",
    ),
    (metrics_row("b3", 0.0, 18, 3), kept("b3", 0.0, 18, 3)),
]


# SGLang request dumps.


class GenerateReqInput:
    """Pickles as the engine's class of this name does."""

    def __init__(self, **fields):
        self.__dict__ = fields


class EmbeddingReqInput(GenerateReqInput):
    pass


class ServerArgs(GenerateReqInput):
    def __reduce__(self):
        return _rebuild_server_args, (type(self), {"port": 30000}, dict(self.__dict__))


class ModelConfig(GenerateReqInput):
    pass


class Qwen2Config(GenerateReqInput):
    pass


def _rebuild_server_args(cls, fields, bookkeeping):
    raise AssertionError("nothing may call this")


def _chain(name):
    return [name[:at] for at in range(len(name) + 1) if name[at : at + 1] in ("", ".")]


@contextlib.contextmanager
def engine_modules():
    """Let classes of this file be pickled by the names that they have in the engine."""
    homes = {
        GenerateReqInput: "sglang.srt.managers.io_struct",
        EmbeddingReqInput: "sglang.srt.managers.io_struct",
        ServerArgs: "sglang.srt.server_args",
        _rebuild_server_args: "sglang.srt.server_args",
        ModelConfig: "sglang.srt.configs.model_config",
        Qwen2Config: "transformers.models.qwen2.configuration_qwen2",
    }
    made = []
    for thing, home in homes.items():
        for name in _chain(home):
            if name not in sys.modules:
                sys.modules[name] = types.ModuleType(name)
                made.append(name)
        setattr(sys.modules[home], thing.__name__, thing)
        thing.__module__ = home
    try:
        yield
    finally:
        for thing in homes:
            thing.__module__ = __name__
        for name in made:
            del sys.modules[name]


def dumped(thing, protocol=4):
    """Pickle plain data and the classes of this file as an engine would."""
    with engine_modules():
        return pickle.dumps(thing, protocol)


def dump_row(rid, at_s, input_tokens, output_tokens, end_s=None, fields=None, **changes):
    """One (request, output, start, end) of 0.4.6.post4, changed as told."""
    end_s = at_s + 0.5 if end_s is None else end_s
    request = GenerateReqInput(
        text=None,
        input_ids=list(range(7, 12)),
        sampling_params={"max_new_tokens": 256, "temperature": 0},
        rid=rid,
        stream=True,
        is_single=True,
        batch_size=1,
        parallel_sample_num=1,
        **(fields or {}),
    )
    meta_info = {
        "id": rid,
        "finish_reason": STOP,
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "cached_tokens": 0,
        "e2e_latency": 0.31,
        **changes,
    }
    return (request, {"text": " ok", "meta_info": present(meta_info)}, T0 + at_s, T0 + end_s)


RUNNING = "it was still running when the server crashed"

SGLANG_DUMP = [
    (dump_row("d1", 0.5, 5, 31), kept("d1", 0.5, 5, 31, token_ids=range(7, 12))),
    (
        dump_row("d2", 0.25, 5, 8, fields={"session_id": "s1", "priority": -128}),
        kept("d2", 0.25, 5, 8, "s1", None, -128, token_ids=range(7, 12)),
    ),
    (
        dump_row("d3", 1, 5, 87, 5.5, finish_reason=ABORT),
        kept("d3", 1, 5, 256, None, 5.5, token_ids=range(7, 12)),
    ),
    (dump_row("d3", 1, 5, 87), REPEATED),
    (dump_row("d4", 2, 5, 87, finish_reason={**ABORT, "status_code": 400}), FAILED),
    (dump_row("d5", 2, 5, 0), ZERO),
    (dump_row("d6", 2, 5, GONE), "completion_tokens is missing"),
    (dump_row("d7", 2, GONE, 4), kept("d7", 2, 5, 4, token_ids=range(7, 12))),
    (dump_row(None, 2, 6, 4), kept("sglang-dump-000008", 2, 6, 4)),
    (dump_row("ünï☕\ud800", 2, 7, 4), kept("ünï☕\\ud800", 2, 7, 4)),
    (dump_row("d8", 2, 8, 4, finish_reason=None), RUNNING),
    ((GenerateReqInput(rid="d9"), {}, T0 + 2.0, T0 + 9.0), RUNNING),
    ((GenerateReqInput(rid="e1"), None, T0 + 2.0, T0 + 9.0), "output is missing"),
    ((GenerateReqInput(rid="e2"), [1], T0 + 2.0, T0 + 9.0), "output is not an object"),
    (
        (EmbeddingReqInput(rid="e3"), *dump_row("e3", 2, 8, 4)[1:]),
        "it is an EmbeddingReqInput: it generates nothing",
    ),
    (({"rid": "e4"}, *dump_row("e4", 2, 8, 4)[1:]), "its request is not a GenerateReqInput"),
    ([1, 2, 3, 4], "it is not a tuple of request, output, start and end"),
    (None, "it is not a tuple of request, output, start and end"),
    ((*dump_row("e5", 2, 8, 4)[:2], None, T0), "start is missing"),
    ((*dump_row("e6", 2, 8, 4)[:2], float("nan"), T0), "start is not a number"),
    ((*dump_row("e7", 2, 8, 4)[:2], -(2**900), T0), "start is negative or out of range"),
    (
        (*dump_row("e8", 2, 8, 4, finish_reason=ABORT)[:2], T0 + 2.0, T0 + 1.0),
        "it was aborted before it arrived",
    ),
    (
        dump_row("e9", 3, 9, 4, fields={"session_params": {"id": 17}}, finish_reason=LENGTH),
        kept("e9", 3, 9, 4, "17"),
    ),
    (dump_row("f1", 3.5, "10", 4.0), kept("f1", 3.5, 10, 4)),
    (dump_row("f2" * 1000, 3.5, 10, 4), "id is longer than 1024 characters"),
    (dump_row("f3", 0, 10, True), "completion_tokens is not a whole number"),
    (dump_row("f4", 0, 10, 4), kept("f4", 0, 10, 4)),
]


def new_dump(requests, protocol=4):
    """The layout of 0.5.23; input ids are tuples in crash dumps."""
    config = ModelConfig(hf_config=Qwen2Config(hidden_size=896), context_len=32768)
    args = ServerArgs(_model_config=config, _input_frozen=True)
    return dumped(
        {
            "server_args": args,
            "config_updates": [("override", {"port": 1})],
            "resolved_config": {"port": 30000, "disaggregation": {"null", "none"}},
            "requests": requests,
            "launch_command": "python -m sglang.launch_server",
        },
        protocol,
    )
