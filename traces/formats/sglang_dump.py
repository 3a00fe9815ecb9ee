"""SGLang request dumps: pickles of requests with their answers, read without unpickling.

A server dumps after `POST /configure_logging` with `dump_requests_folder`, a file every
`dump_requests_threshold` (1000) requests as they end, and before a crash with
`--crash-dump-folder`:

    [(request, output, start, end), ...]                                             0.4.6.post4
    {"server_args": ..., "config_updates": ..., "requests": [...], ...}              0.5.23

    request      a `GenerateReqInput` (its fields: see `sglang_metrics`), or an `EmbeddingReqInput`,
                 which generates nothing and is skipped
    output       {"text": ..., "meta_info": {"id", "finish_reason", "prompt_tokens", ...}}, as in
                 `sglang_metrics`; missing, or without finish_reason, for requests that were still
                 running when the server crashed, which are skipped
    start, end   seconds since 1970; end is when an aborted request is cancelled. (When a streaming
                 client disconnects, SGLang aborts 2 s later.)

`traces.formats.safe_pickle` reads the file and cannot execute anything. Besides plain data it
accepts the names in `_is_allowed`, as inert records of their state: the two requests, and the
classes in a server's arguments (0.5.23 pickles them with the model's configuration, whose classes
are from SGLang and transformers). All other names are refused.

Source: SGLang 0.4.6.post4 and 0.5.23, `srt/managers/tokenizer_manager.py` (`dump_requests`; 0.5.23:
`_dump_data_to_file`, `dump_requests_before_crash`), `srt/managers/io_struct.py`; 0.5.23:
`srt/server_args.py` (`ServerArgs.__reduce__`), `srt/arg_groups/model_override_base.py`
(`model_config_of`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from traces.errors import TraceError
from traces.formats.base import LogFormat, Sample
from traces.formats.reader import LogReader, RowSkipped
from traces.formats.safe_pickle import Record, load_plain
from traces.formats.sglang_metrics import finished_request
from traces.formats.values import read_mapping, read_time_us
from traces.schema import TraceRequest

#: Dumps that are larger after decompression are refused, because a dump is read into memory.
DUMP_BYTES_MAX = 256 * 2**20

#: Maximum average number of requests that share the tokens of a dump.
_SHARING_MAX = 16

_CHUNK_BYTES = 2**20

_GENERATE = "sglang.srt.managers.io_struct.GenerateReqInput"
_EMBEDDING = "sglang.srt.managers.io_struct.EmbeddingReqInput"

#: Packages of the classes in a server's arguments.
_PACKAGES = frozenset({"sglang", "transformers", "transformers_modules"})

_NAMES = frozenset(
    {
        ("http", "HTTPStatus"),
        ("collections", "OrderedDict"),
        ("pathlib", "PosixPath"),
        *(
            ("torch", name)
            for name in ("bfloat16", "float16", "float32", "float8_e4m3fn", "float8_e5m2")
        ),
    }
)


def _is_allowed(module: str, name: str) -> bool:
    if (module, name) in _NAMES:
        return True
    # A dotted name could reach anything from a class.
    return module.partition(".")[0] in _PACKAGES and name.isidentifier()


def _matches(sample: Sample) -> bool:
    return sample.head[:1] == b"\x80" and sample.head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    data = _read_bytes(reader)
    entries = _entries(reader, data)
    # In a pickle, one list can occur in any number of requests. Real prompts take a byte per token
    # and hardly ever share a list.
    tokens_left = _SHARING_MAX * len(data)
    del data

    def to_request(entry: object) -> TraceRequest:
        nonlocal tokens_left
        if not (isinstance(entry, tuple) and len(entry) == 4):
            raise RowSkipped("it is not a tuple of request, output, start and end")
        request, output, start, end = entry
        times = {"start": start, "end": end}
        arrival_us = read_time_us(times, "start", 1)
        meta_info = read_mapping({"output": output}, "output").get("meta_info")
        if not isinstance(meta_info, Mapping) or meta_info.get("finish_reason") is None:
            raise RowSkipped("it was still running when the server crashed")
        fields = _fields(request)
        token_ids = fields.get("input_ids")
        tokens_left -= len(token_ids) if isinstance(token_ids, list | tuple) else 0
        if tokens_left < 0:
            reader.fail(
                "is one of too many that share their tokens", "no server writes such a dump"
            )
        return finished_request(
            reader,
            reader.make_id("sglang-dump"),
            fields,
            meta_info,
            arrival_us,
            lambda: read_time_us(times, "end", 1),
        )

    return reader.requests(reader.numbered(entries, "request"), to_request)


def _fields(request: object) -> Mapping[str, Any]:
    name = request.name if isinstance(request, Record) else None
    if name == _EMBEDDING:
        raise RowSkipped("it is an EmbeddingReqInput: it generates nothing")
    if isinstance(request, Record) and name == _GENERATE:
        return request.fields
    raise RowSkipped("its request is not a GenerateReqInput")


def _entries(reader: LogReader, data: bytearray) -> list[object]:
    dump = load_plain(data, str(reader.log.path), _is_allowed)
    if isinstance(dump, dict):
        dump = dump.get("requests")
    if not isinstance(dump, list):
        raise TraceError(
            f"{reader.log.path}: is a pickle but not a request dump (it is neither a list of requests "
            "nor a dict with one); check the file and --format"
        )
    return dump


def _read_bytes(reader: LogReader) -> bytearray:
    data = bytearray()
    with reader.open() as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            data += chunk
            if len(data) > DUMP_BYTES_MAX:
                raise TraceError(
                    f"{reader.log.path}: is larger than {DUMP_BYTES_MAX} bytes; write smaller "
                    "dumps (dump_requests_threshold) and import them together"
                )
    return data


FORMAT = LogFormat("sglang-dump", _matches, _read, takes_block_size=True)
