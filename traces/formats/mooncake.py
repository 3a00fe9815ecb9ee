"""Mooncake request logs (FAST'25), as published with the Mooncake paper's open-source release.

One JSON object a line:

    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 48, ...]}

    timestamp      arrival, milliseconds from the start of the log; many requests share one
    input_length   prompt tokens
    output_length  generated tokens
    hash_ids       one id per 512 prompt tokens, the last block may be partial. An id stands for a
                   block and everything before it, so two requests that share an id share the
                   whole prefix: they are taken over as block hashes unchanged. (In the published
                   conversation log every id has one and the same predecessor throughout.)

Field meanings: the trace README of the Mooncake project; checked on the 12,031 rows of its
conversation trace. Rows have no id of their own and become `mooncake-<file>-<row from 0>`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from traces.formats.base import LogFormat, Sample
from traces.formats.hashes import read_block_hashes
from traces.formats.reader import LogReader
from traces.formats.values import read_time_us, read_tokens
from traces.schema import TraceRequest

#: Tokens one hash id covers.
BLOCK_SIZE = 512


def _matches(sample: Sample) -> bool:
    # A Bailian log has the same fields and more, but perhaps not in every row.
    return not any("chat_id" in row for row in sample.objects) and any(
        {"timestamp", "input_length", "output_length"} <= row.keys() for row in sample.objects
    )


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(fields: dict[str, Any]) -> TraceRequest:
        arrival_us = read_time_us(fields, "timestamp", 1000)
        input_tokens = read_tokens(fields, "input_length")
        output_tokens = read_tokens(fields, "output_length")
        return TraceRequest(
            request_id=reader.make_id("mooncake"),
            arrival_us=arrival_us,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            block_hashes=read_block_hashes(
                reader, "hash_ids", fields.get("hash_ids"), input_tokens, BLOCK_SIZE
            ),
        )

    return reader.requests(reader.json_rows(), to_request)


FORMAT = LogFormat("mooncake", _matches, _read, is_wall_clock=False)
