"""Whose every page of the pool is at the worst gap, from pages.parquet and owners.parquet.

pages.parquet has the pages in stretches of equal ones; a stay in owners.parquet says of what kind a
request's pages in the gap are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from replay.recording.kinds import PageState
from replay.verdict.episodes import kind_of
from reports.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Category:
    """What pages of a map can be: a word that is also its class, and what it means."""

    word: str
    meaning: str
    in_gap: bool = False


#: From the most ordinary to the worst; a cell of the map shows the last one in it that is in the gap.
CATEGORIES = (
    Category("free", "on the free list"),
    Category("cached", "in the prefix cache, evictable"),
    Category("protected", "in the prefix cache, locked by a request that can still proceed"),
    Category("running", "held by a request that is running or queued"),
    Category("in transfer", "held by a transfer that is not overdue"),
    Category("held", "held by an overdue transfer that can still complete", True),
    Category("cache-held", "in the prefix cache, locked by an overdue transfer", True),
    Category("stuck", "held by a transfer that can never complete", True),
    Category("orphaned", "held by a request that the engine has forgotten", True),
    Category(
        "over-freed", "released too often: free while in use, or on the free list twice", True
    ),
    Category("double-owned", "held twice: by two requests, or by one and the prefix cache", True),
)
_OF_STATE = {
    PageState.EVICTABLE.value: "cached",
    PageState.TRANSFER.value: "in transfer",
    PageState.DEPARTED.value: "orphaned",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pages that follow each other and are the same in every respect."""

    first_page: int
    pages: int
    state: str
    word: str
    request_id: str | None
    other_request_id: str | None
    listed: int
    holders: int


@dataclass(frozen=True, slots=True)
class PageMap:
    """The map of a recording: where it was taken, and its stretches in page order."""

    pool: str
    audit: int
    time_us: int
    gap_tokens: int
    stretches: tuple[Stretch, ...]

    @property
    def pages(self) -> int:
        """All pages of the pool."""
        return sum(stretch.pages for stretch in self.stretches)

    def pages_of(self, words: Iterable[str]) -> int:
        """Pages of some categories."""
        wanted = set(words)
        return sum(each.pages for each in self.stretches if each.word in wanted)


def read_page_map(evidence: Evidence) -> PageMap | None:
    """The map as recorded, with the kind of every page in the gap; None where there is none."""
    table = evidence.tables.get("pages")
    if table is None or not table.num_rows:
        return None
    table = table.sort_by([("first_page", "ascending")])
    pool, audit = table["pool"][0].as_py(), table["audit"][0].as_py()
    row = audit_row(evidence, audit)
    if row is None or row["pool"] != pool:
        return None
    kinds = {
        (stay["request_id"], stay["share"]): kind_of(
            stay["share"], stay["closed_audit"] is not None, stay["can_progress"]
        )
        for stay in stays_at(evidence, pool, audit)
    }
    columns = (
        "first_page",
        "pages",
        "state",
        "request_id",
        "other_request_id",
        "listed",
        "holders",
    )
    stretches = tuple(
        Stretch(first, pages, state, _word(state, request_id, kinds), request_id, *others)
        for first, pages, state, request_id, *others in zip(
            *(table[name].to_pylist() for name in columns), strict=True
        )
    )
    return PageMap(pool, audit, row["time_us"], row["gap"], stretches)


def stays_at(evidence: Evidence, pool: str, audit: int) -> list[dict[str, Any]]:
    """The rows of owners.parquet that are in a pool's gap at an audit."""
    owners = evidence.tables["owners"]
    closed = pc.fill_null(pc.greater(owners["closed_audit"], audit), True)
    here = pc.and_(pc.equal(owners["pool"], pool), pc.less_equal(owners["opened_audit"], audit))
    rows: list[dict[str, Any]] = owners.filter(pc.and_(here, closed)).to_pylist()
    return rows


def audit_row(evidence: Evidence, audit: int) -> dict[str, Any] | None:
    """The row of audits.parquet with this number."""
    rows = evidence.rows("audits", "audit", audit).to_pylist()
    return rows[0] if rows else None


def _word(state: str, request_id: str | None, kinds: dict[tuple[str | None, str], str]) -> str:
    """The category of a page: that of its owner's stay where it is in the gap."""
    if state == PageState.STALLED.value:
        return kinds.get((request_id, state), "stuck")
    return _OF_STATE.get(state, state)
