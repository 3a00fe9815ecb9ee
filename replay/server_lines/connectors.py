"""What other transfer layers write: vllm-ascend, TensorRT-LLM and LMCache.

Sources: the lines of public reports; vllm-ascend `distributed/kv_transfer` (mooncake connector),
TensorRT-LLM `cacheTransceiver.cpp` and `pyexecutor/py_executor.py`, LMCache `pd_backend.py`,
`memory_management.py` and `pin_monitor.py`.
"""

from __future__ import annotations

from replay.server_lines.base import MILLISECONDS, PAGES, REQUEST, SECONDS, transfer_family
from replay.server_lines.records import TransferTrouble

ASCEND = transfer_family(
    "vllm-ascend transfer",
    "vllm-ascend",
    (
        "Delaying free of",
        "Force freed ",
        "not in reqs to process",
        "Mooncake transfer failed for",
        "Failed to transfer KV cache for",
    ),
    (
        (TransferTrouble.HELD, rf"Delaying free of {PAGES} blocks(?: for request {REQUEST})?"),
        (
            TransferTrouble.HOLD_EXPIRED,
            rf"Force freed (?:expired )?request: {REQUEST}"
            rf"(?:\. Reason: .*?(?:\({SECONDS} seconds\)|$))?",
        ),
        (
            TransferTrouble.UNKNOWN_REQUEST,
            r"finish req (?:(?P<request>[\w.:-]+) )?not in reqs to process",
        ),
        (
            TransferTrouble.FAILED,
            r"(?:Mooncake transfer failed|Failed to transfer KV cache) for request "
            rf"{REQUEST}(?<!:)",
        ),
    ),
)

TRTLLM = transfer_family(
    "trtllm transfer",
    "trtllm",
    ("KV cache transfer after", "KV cache transfer timeout"),
    (
        (
            TransferTrouble.TIMED_OUT_WAITING,
            r"(?:Request (?P<request>\w+) )?[Tt]imed out waiting for \w+ KV cache transfer after"
            rf"(?: {MILLISECONDS} milliseconds)?",
        ),
        (
            TransferTrouble.HOLD_EXPIRED,
            r"(?:Terminating|Requesting cancellation for) \w+ request (?P<request>\w+) "
            r"due to KV cache transfer timeout",
        ),
    ),
)

LMCACHE = transfer_family(
    "lmcache transfer",
    "lmcache",
    # Not every "Failed to allocate memory": kernels' workspaces fail with these words as well.
    (
        "Failed to allocate memory object",
        "Failed to allocate memory block",
        "Failed to allocate memory for tensor(",
        "Failed to allocate memory for the KV cache",
        "Failed to allocate memory during",
        "Pin timeout detected",
    ),
    (
        (
            TransferTrouble.STARVED,
            r"Failed to allocate memory (?:object|block|for|during)"
            r"(?: for req: (?P<request>[\w.:-]+))?",
        ),
        (TransferTrouble.HOLD_EXPIRED, r"Pin timeout detected for MemoryObj"),
    ),
)
