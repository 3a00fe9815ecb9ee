"""What other transfer layers write: vllm-ascend, TensorRT-LLM and LMCache.

Sources: the lines of public reports; vllm-ascend `distributed/kv_transfer` (mooncake connector),
TensorRT-LLM `cacheTransceiver.cpp` and `pyexecutor/py_executor.py`, LMCache `pd_backend.py`,
`memory_management.py` and `pin_monitor.py`.
"""

from __future__ import annotations

import re

from replay.server_lines.base import (
    MILLISECONDS,
    PAGES,
    REQUEST,
    SECONDS,
    Family,
    TransferLine,
    transfer_reader,
)
from replay.server_lines.records import TransferTrouble


def _line(engine: str, trouble: TransferTrouble, pattern: str) -> TransferLine:
    return TransferLine(engine, trouble, re.compile(pattern))


ASCEND = Family(
    "vllm-ascend transfer",
    (
        "Delaying free of",
        "Force freed ",
        "not in reqs to process",
        "Mooncake transfer failed for",
        "Failed to transfer KV cache for",
    ),
    transfer_reader(
        (
            _line(
                "vllm-ascend",
                TransferTrouble.HELD,
                rf"Delaying free of {PAGES} blocks(?: for request {REQUEST})?",
            ),
            _line(
                "vllm-ascend",
                TransferTrouble.HOLD_EXPIRED,
                rf"Force freed (?:expired )?request: {REQUEST}"
                rf"(?:\. Reason: .*?(?:\({SECONDS} seconds\)|$))?",
            ),
            _line(
                "vllm-ascend",
                TransferTrouble.UNKNOWN_REQUEST,
                r"finish req (?:(?P<request>[\w.:-]+) )?not in reqs to process",
            ),
            _line(
                "vllm-ascend",
                TransferTrouble.FAILED,
                r"(?:Mooncake transfer failed|Failed to transfer KV cache) for request "
                rf"{REQUEST}(?<!:)",
            ),
        )
    ),
)

TRTLLM = Family(
    "trtllm transfer",
    ("KV cache transfer after", "KV cache transfer timeout"),
    transfer_reader(
        (
            _line(
                "trtllm",
                TransferTrouble.TIMED_OUT_WAITING,
                r"(?:Request (?P<request>\w+) )?[Tt]imed out waiting for \w+ KV cache transfer after"
                rf"(?: {MILLISECONDS} milliseconds)?",
            ),
            _line(
                "trtllm",
                TransferTrouble.HOLD_EXPIRED,
                r"(?:Terminating|Requesting cancellation for) \w+ request (?P<request>\w+) "
                r"due to KV cache transfer timeout",
            ),
        )
    ),
)

LMCACHE = Family(
    "lmcache transfer",
    # Not every "Failed to allocate memory": kernels' workspaces fail with these words as well.
    (
        "Failed to allocate memory object",
        "Failed to allocate memory block",
        "Failed to allocate memory for tensor(",
        "Failed to allocate memory for the KV cache",
        "Failed to allocate memory during",
        "Pin timeout detected",
    ),
    transfer_reader(
        (
            _line(
                "lmcache",
                TransferTrouble.STARVED,
                r"Failed to allocate memory (?:object|block|for|during)"
                r"(?: for req: (?P<request>[\w.:-]+))?",
            ),
            _line("lmcache", TransferTrouble.HOLD_EXPIRED, r"Pin timeout detected for MemoryObj"),
        )
    ),
)
