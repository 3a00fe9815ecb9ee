"""What a page of a pool can be doing, as pages.parquet says it."""

from __future__ import annotations

from enum import Enum

from replay.pool.account import ShareKind


class PageState(Enum):
    """From the most ordinary to the worst; those of a request in the gap are called as its share."""

    FREE = "free"
    EVICTABLE = "evictable"
    PROTECTED = "protected"
    RUNNING = "running"
    TRANSFER = "transfer"
    STALLED = ShareKind.STALLED.value
    CACHE_HELD = ShareKind.CACHE_HELD.value
    DEPARTED = ShareKind.DEPARTED.value
    OVER_FREED = ShareKind.OVER_FREED.value
    DOUBLE_OWNED = "double-owned"
