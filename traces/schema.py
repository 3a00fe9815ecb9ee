"""The request trace: its columns, its file metadata and one row of it.

A trace is one Parquet file, zstd-compressed, in row groups that stream. Its columns, in order:

    request_id     string        unique, not empty
    arrival_us     int64         0 to 2**62, sorted; ties keep their order
    input_tokens   int32         >= 1
    output_tokens  int32         >= 1
    block_hashes   list<uint64>  nullable; one per `block_size` input tokens, the last one may be
                                 partial; a hash names its block *with everything before it*
    session_id     string        nullable
    cancel_us      int64         nullable; absolute time of the client's abort, arrival_us to 2**62
    priority       int8          nullable

and its footer carries the `METADATA_*` keys below. The format is kvreplay's own (docs: DESIGN,
"Request trace"). This module imports numpy only, so that an engine can name `TraceRequest` on a
machine that has no pyarrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Value of `METADATA_SCHEMA` in every trace of this version.
SCHEMA_VERSION = "kvreplay.trace/1"

METADATA_SCHEMA = "kvreplay.schema"
METADATA_SOURCE = "kvreplay.source"
#: Tokens a block hash covers; the key is absent when the trace has no block hashes.
METADATA_BLOCK_SIZE = "kvreplay.block_size"
METADATA_REQUEST_COUNT = "kvreplay.request_count"

#: Every column, in file order.
COLUMNS = (
    "request_id",
    "arrival_us",
    "input_tokens",
    "output_tokens",
    "block_hashes",
    "session_id",
    "cancel_us",
    "priority",
)

#: Columns in which a null is an error.
REQUIRED_COLUMNS = frozenset({"request_id", "arrival_us", "input_tokens", "output_tokens"})

#: Largest token count a column can hold (int32).
TOKENS_MAX = 2**31 - 1

#: Latest time in a trace, the year 148,000 on a wall clock. Half the range of an int64 column, which
#: leaves room for what a replay adds.
TIME_US_MAX = 2**62


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One row of a trace.

    Attributes:
        request_id: unique in the trace.
        arrival_us: arrival, microseconds from the start of the trace.
        input_tokens: prompt length in tokens, at least 1.
        output_tokens: tokens the engine generates, at least 1.
        block_hashes: uint64, shape (ceil(input_tokens / block_size),), or None when unknown.
            May be a read-only view into the batch it was read with; copy it to keep it longer.
        session_id: conversation that the request belongs to, or None.
        cancel_us: absolute time at which the client aborts, microseconds, or None.
        priority: scheduling priority of the source, -128 to 127, or None.
    """

    request_id: str
    arrival_us: int
    input_tokens: int
    output_tokens: int
    block_hashes: npt.NDArray[np.uint64] | None = None
    session_id: str | None = None
    cancel_us: int | None = None
    priority: int | None = None


def block_count(input_tokens: int, block_size: int) -> int:
    """Return the number of block hashes of a prompt; the last block may be partial."""
    return -(-input_tokens // block_size)


def arrow_schema() -> Any:
    """Return the trace's `pyarrow.Schema`, without the footer metadata."""
    import pyarrow as pa

    types = {
        "request_id": pa.string(),
        "arrival_us": pa.int64(),
        "input_tokens": pa.int32(),
        "output_tokens": pa.int32(),
        "block_hashes": pa.list_(pa.uint64()),
        "session_id": pa.string(),
        "cancel_us": pa.int64(),
        "priority": pa.int8(),
    }
    return pa.schema(
        [pa.field(name, types[name], nullable=name not in REQUIRED_COLUMNS) for name in COLUMNS]
    )
