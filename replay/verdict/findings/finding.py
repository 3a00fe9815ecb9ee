"""A finding: blocks of pages that are wrong in the same way, as Valgrind's loss records are.

The categories are words known from Valgrind and LeakSanitizer:

    kinds of a verdict                        category
    orphaned, counter-drift (pages missing)   definitely leaked
    stuck, cache-held, never-ended            stuck
    held, and whatever came back              still held
    double-owned, premature-free, stale-write double-owned
    over-freed, released-by-another,
    counter-drift (pages too many)            over-freed
    check-false-alarm                         false alarm

What a suppressions file accepts is counted as suppressed instead.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from replay.recording.events import EventFact

#: In the order in which they are listed.
CategoryName = Literal[
    "definitely leaked", "stuck", "still held", "double-owned", "over-freed", "false alarm"
]
CATEGORIES: tuple[CategoryName, ...] = get_args(CategoryName)
SUPPRESSED = "suppressed"
#: The pool of a finding that is known for the whole deployment only.
ALL_POOLS = "all pools"

#: What is wrong, where no page of a verdict's kinds is: for findings alone.
NEVER_ENDED = "never-ended"
RELEASED_BY_ANOTHER = "released-by-another"

#: One sentence each, as the page has them.
MEANINGS: dict[str, str] = {
    "definitely leaked": "No live owner is left that could ever give these pages back; only a "
    "restart does.",
    "stuck": "The owner lives, but nothing is left that could move it on; without pages, it is a "
    "request that never ended.",
    "still held": "The owner is alive and can go on, or the pages came back: late, and not lost.",
    "double-owned": "Two requests had the same pages at once, or one read or wrote what was "
    "another's; every count balances, and answers may be wrong.",
    "over-freed": "Given back more often than taken, so that the pool lists as free what is not "
    "there or is in use.",
    "false alarm": "The engine's own check fired although every page had a live owner; nothing is "
    "lost.",
    SUPPRESSED: "Known and accepted: an entry of the suppressions file, with a reason and a date "
    "of expiry, matches.",
}

_OF_KIND: dict[str, CategoryName] = {
    "orphaned": "definitely leaked",
    "stuck": "stuck",
    NEVER_ENDED: "stuck",
    "held": "still held",
    "double-owned": "double-owned",
    "premature-free": "double-owned",
    "stale-write": "double-owned",
    "over-freed": "over-freed",
    RELEASED_BY_ANOTHER: "over-freed",
    "check-false-alarm": "false alarm",
}


def category_of(kind: str, pages: int, can_end: bool) -> CategoryName:
    """The category of some pages.

    Args:
        kind: what a verdict calls them, or `NEVER_ENDED`, `RELEASED_BY_ANOTHER`.
        pages: how many; fewer than none where too many are free.
        can_end: whether they came back, or something could still make them.
    """
    if pages < 0:
        return "over-freed"
    if kind == "counter-drift":
        return "still held" if can_end else "definitely leaked"
    if kind == "cache-held":
        return "still held" if can_end else "stuck"
    category = _OF_KIND[kind]
    return "still held" if can_end and category in ("definitely leaked", "stuck") else category


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


#: Blocks, each with a sentence about its cause.
Blamed = list[tuple[Block, str]]


def faults_of(event: EventFact | None) -> tuple[str, ...]:
    """The faults that rules made of an event; empty for none."""
    return () if event is None or not event.fault else tuple(sorted(event.fault.split(" + ")))


def rules_of(event: EventFact | None) -> tuple[str, ...]:
    """The rules that touched an event, as the recording joins them."""
    return () if event is None or not event.rule else (event.rule,)


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
        """Requests, those with the most pages first; empty where unknown."""
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


def worst_first(finding: Finding) -> tuple[object, ...]:
    """Order of findings: what lasts, wrong bytes before missing pages, then the most pages."""
    return (
        finding.suppressed_by is not None,
        not finding.lasts,
        finding.category != "double-owned",
        -finding.pages,
        CATEGORIES.index(finding.category),
        finding.pool,
        finding.kind,
        finding.faults,
        finding.rules,
    )
