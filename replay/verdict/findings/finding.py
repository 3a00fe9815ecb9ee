"""A finding: blocks of pages that are wrong in the same way, as Valgrind's loss records are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from replay.verdict.findings.categories import CategoryName

#: The pool of what is known of a whole deployment only.
ALL_POOLS = "all pools"


@dataclass(frozen=True, slots=True)
class Block:
    """Pages of one request that are wrong, and the event that is to blame.

    Times are virtual microseconds.
    """

    category: CategoryName
    kind: str
    pool: str
    #: None where the oracle that has seen the pages knows no owner.
    request_id: str | None
    #: Missing ones; fewer than none where too many are free. 0 for a request that never ended.
    pages: int
    #: Whether they were still so when the replay ended.
    lasts: bool
    state: str = ""
    faults: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    opened_us: int | None = None
    closed_us: int | None = None
    #: Numbers of the episodes that it is part of, and the audits that saw it come and go.
    episodes: tuple[int, ...] = ()
    opened_audit: int | None = None
    closed_audit: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Blocks of one category, kind and pool that the same fault is to blame for."""

    category: CategoryName
    kind: str
    pool: str
    lasts: bool
    faults: tuple[str, ...]
    rules: tuple[str, ...]
    #: The largest first.
    blocks: tuple[Block, ...]
    page_size: int
    #: One sentence about its largest part.
    blame: str
    #: The name of the suppression that accepts it.
    suppressed_by: str | None = None

    @property
    def pages(self) -> int:
        """Pages of all blocks, however they are wrong."""
        return sum(abs(block.pages) for block in self.blocks)

    @property
    def tokens(self) -> int:
        """The same in tokens."""
        return self.pages * self.page_size

    @property
    def owners(self) -> tuple[str, ...]:
        """Requests, those with the most pages first; empty where nobody knows."""
        named = (block.request_id for block in self.blocks if block.request_id is not None)
        return tuple(dict.fromkeys(named))

    @property
    def episodes(self) -> tuple[int, ...]:
        """Numbers of the episodes that its blocks are part of."""
        return tuple(sorted({number for block in self.blocks for number in block.episodes}))

    @property
    def opened_us(self) -> int | None:
        """When the first block came, in virtual microseconds."""
        return min((b.opened_us for b in self.blocks if b.opened_us is not None), default=None)

    @property
    def closed_us(self) -> int | None:
        """When the last block went; None while it lasts."""
        if self.lasts:
            return None
        return max((b.closed_us for b in self.blocks if b.closed_us is not None), default=None)

    @property
    def side(self) -> str:
        """Which side its pool is on."""
        return side_of(self.pool)

    @property
    def fingerprint(self) -> str:
        """Names this way of going wrong, in any recording: no id, number or time is in it."""
        facts = [self.category, self.kind, self.side, sorted(self.faults)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def side_of(pool: str) -> str:
    """Prefill or decode, or else the pool's own name."""
    return next((side for side in ("prefill", "decode") if pool.startswith(side)), pool)
