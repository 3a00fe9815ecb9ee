"""What engines print about an accounting mismatch, in their own words.

Formats: sglang 0.4.6.post4, `managers/scheduler.py` (check_memory); sglang 0.5.23,
`managers/scheduler_components/invariant_checker.py`; vllm 0.33.0 `v1/metrics/loggers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Whose words a mismatch is told in.
MessageStyle = Literal["sglang-0.4", "sglang-0.5", "vllm"]


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """What an engine counts in one pool, in tokens; `available` does not include evictable."""

    available: int
    evictable: int
    protected: int
    total: int


def token_pool_message(style: MessageStyle, counts: PoolCounts) -> str:
    """The words for a token pool whose two sides differ."""
    if style == "sglang-0.4":
        # This version's available_size includes what the cache could evict.
        return (
            "token_to_kv_pool_allocator memory leak detected! "
            f"available_size={counts.available + counts.evictable}, "
            f"protected_size={counts.protected}, self.max_total_num_tokens={counts.total}\n"
            f"self.token_to_kv_pool_allocator.available_size()={counts.available}\n"
            f"self.tree_cache.evictable_size()={counts.evictable}\n"
        )
    if style == "vllm":
        # There is no such check; this is the line whose usage stays up when blocks are lost.
        used = 1 - (counts.available + counts.evictable) / counts.total
        return (
            "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 0.0 "
            f"tokens/s, Running: 0 reqs, Waiting: 0 reqs, GPU KV cache usage: {used:.1%}, "
            "Prefix cache hit rate: 0.0%"
        )
    return (
        f"pool memory leak detected! [full] total={counts.total}, available={counts.available}, "
        f"evictable={counts.evictable}, protected={counts.protected}, session_held=0, uncached=0"
    )


def request_pool_message(style: MessageStyle, available: int, total: int) -> str:
    """The words for request slots that do not add up."""
    held = "" if style == "sglang-0.4" else "session_held=0, "
    return (
        "req_to_token_pool memory leak detected!"
        f"available_size={available}, {held}total_size={total}\n"
    )


def is_leak(counts: PoolCounts, counts_protected: bool) -> bool:
    """Whether the engine's own formula calls these counts a leak."""
    accounted = counts.available + counts.evictable
    if counts_protected:
        accounted += counts.protected
    return accounted != counts.total
