"""The map of the pool at the worst gap: its drawing, its legend, the pages of the gap, its checks.

The map comes from the ledger, page by page; the audit from what the allocator, the cache and the
schedulers count. After pages were released too often a page may be counted several times, and then
only what is free and what is held can be compared, not each of their parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from replay.verdict.episodes import kind_of
from reports.evidence import Evidence
from reports.parts.base import Check, Part, equal
from reports.parts.ownership.drawing import draw, pages_per_cell, swatch
from reports.parts.ownership.page_map import (
    CATEGORIES,
    Category,
    PageMap,
    audit_row,
    read_page_map,
    stays_at,
)
from reports.tables import ROWS_MAX, Table, make_table
from reports.words import NOTHING, counted, number, seconds


@dataclass(frozen=True, slots=True)
class LegendRow:
    """One category: how much of the pool it is."""

    category: Category
    swatch: Markup
    pages: str
    tokens: str
    share: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """The part of the page; without a drawing it only says why there is none."""

    title: str
    told: str
    #: What a reader must know before the map is believed: it is of another audit, pages that it
    #: cannot show.
    cautions: tuple[str, ...]
    cell: str = ""
    label: str = ""
    wide: Markup | None = None
    narrow: Markup | None = None
    legend: tuple[LegendRow, ...] = ()
    total: tuple[str, str] = ("", "")
    gap_pages: Table | None = None


def make_ownership(evidence: Evidence, anchor: str) -> Ownership | None:
    """The map of the worst gap; None where there is no gap. `anchor` makes its ids unique."""
    mismatch = evidence.summary["mismatch"]
    if mismatch is None:
        return None
    title = "Page ownership at the worst gap"
    found = read_page_map(evidence)
    if found is None:
        told = (
            "This recording has no map: it was made by an earlier version of kvreplay, or its "
            "pages.parquet is empty. Replay the trace to get one."
        )
        return Ownership(title, told, ())
    size, cell = evidence.page_size, pages_per_cell(found.pages)
    shown = [each for each in CATEGORIES if found.pages_of([each.word]) or each.word == "free"]
    legend = tuple(
        LegendRow(
            each,
            swatch(each, anchor),
            number(pages := found.pages_of([each.word])),
            number(pages * size),
            _percent(pages, found.pages),
        )
        for each in shown
    )
    return Ownership(
        title=title,
        told=f"Pool {found.pool} at {seconds(found.time_us)} (audit {number(found.audit)}), page by "
        "page in address order." + _told_of_excess(evidence, found),
        cautions=tuple(_cautions(evidence, found)),
        cell=f"One cell is {counted(cell, 'page')}; {_cell_rule(cell)}",
        label=f"Map of {counted(found.pages, 'page')} of {found.pool}: "
        + ", ".join(f"{row.pages} {row.category.word}" for row in legend),
        wide=draw(found, anchor, narrow=False),
        narrow=draw(found, anchor, narrow=True),
        legend=legend,
        total=(number(found.pages), number(found.pages * size)),
        gap_pages=_gap_table(found),
    )


def _told_of_excess(evidence: Evidence, found: PageMap) -> str:
    """How the gap comes about where pages are counted more than once."""
    excess = sum(each.pages * (each.listed + each.holders - 1) for each in found.stretches)
    if not excess:
        return ""
    stays = stays_at(evidence, found.pool, found.audit)
    leaked = sum(stay["pages"] for stay in stays if stay["share"] != "over-freed")
    return (
        f" {counted(leaked, 'page')} leaked, and pages are counted {counted(excess, 'time')} too "
        f"often (a page may be both): {number(leaked)} \N{MINUS SIGN} "
        f"{number(excess)} = {number(leaked - excess)}, the gap in pages."
    )


def _cautions(evidence: Evidence, found: PageMap) -> Iterable[str]:
    mismatch = evidence.summary["mismatch"]
    if (found.pool, found.audit) != (mismatch["pool"], mismatch["audit"]):
        yield (
            f"This is not the audit of the worst gap, which is audit {number(mismatch['audit'])} of "
            f"{mismatch['pool']} with a gap of {counted(mismatch['gap'], 'token')}; the gap here is "
            f"{counted(found.gap_tokens, 'token')}. A pool this large is not copied every time its "
            "gap widens."
        )
    drift = sum(
        stay["pages"]
        for stay in stays_at(evidence, found.pool, found.audit)
        if stay["share"] == "counter-drift"
    )
    if drift:
        yield (
            f"{counted(drift, 'page')} of the gap cannot be mapped: a counter is wrong, but every page is "
            "where it should be."
        )


def _cell_rule(cell: int) -> str:
    if cell == 1:
        return "every page of the gap is visible."
    return "a cell that contains any page of the gap shows that page."


def _percent(part: int, whole: int) -> str:
    if not part:
        return "0 %"
    share = 100 * part / whole
    return "< 0.01 %" if share < 0.01 else f"{share:,.2f} %"


def _gap_table(found: PageMap) -> Table:
    """The stretches of the gap, in page order."""
    in_gap = {category.word for category in CATEGORIES if category.in_gap}
    rows = [each for each in found.stretches if each.word in in_gap]
    shown = (
        (
            number(each.first_page),
            number(each.first_page + each.pages - 1),
            number(each.pages),
            each.word,
            each.request_id or NOTHING,
            each.other_request_id or NOTHING,
        )
        for each in rows[:ROWS_MAX]
    )
    titles = "#first page|#last page|#pages|kind|request|also held by"
    return make_table("Pages of the gap", titles, shown, len(rows))


_IN_GAP = ("stalled", "departed", "cache-held")


def check_ownership(evidence: Evidence) -> tuple[Check, ...]:
    """Every check of the map; none where the recording has no map."""
    if evidence.summary["mismatch"] is None or (found := read_page_map(evidence)) is None:
        return ()
    audit = audit_row(evidence, found.audit)
    assert audit is not None
    stays = stays_at(evidence, found.pool, found.audit)
    drift = sum(stay["pages"] for stay in stays if stay["share"] == "counter-drift")
    totals = {pool["pool"]: pool["total_tokens"] for pool in evidence.run["pools"]}
    size = evidence.page_size
    checks = [_equal("all pages = total", found.pages * size, totals.get(found.pool, 0))]
    if is_shared(found) or any(stay["share"] == "over-freed" for stay in stays):
        return (*checks, *_shared(evidence, found, audit, stays, drift))
    return (*checks, *_plain(found, audit, stays, drift, size))


def is_shared(found: PageMap) -> bool:
    """Whether a page is counted more than once, or not at all."""
    return any(each.listed + each.holders != 1 for each in found.stretches)


def _plain(
    found: PageMap, audit: dict[str, Any], stays: list[dict[str, Any]], drift: int, size: int
) -> list[Check]:
    free, cached = found.pages_of(["free"]) * size, found.pages_of(["cached", "protected"]) * size
    tokens = audit["evictable"] + audit["protected"]
    if drift:
        checks = [
            _equal(
                "free + cached + protected = available + evictable + protected + counter drift",
                free + cached,
                audit["available"] + tokens + drift * size,
            )
        ]
    else:
        checks = [
            _equal("free = available", free, audit["available"]),
            _equal("cached + protected = evictable + protected", cached, tokens),
        ]
    checks += [
        _equal("running = live", found.pages_of(["running"]) * size, audit["live"]),
        _equal(
            "in transfer = in transfer",
            found.pages_of(["in transfer"]) * size,
            audit["in_transfer"],
        ),
    ]
    shown: Counter[tuple[str | None, str]] = Counter()
    for each in found.stretches:
        if each.state in _IN_GAP:
            shown[each.request_id, each.word] += each.pages
    owned: Counter[tuple[str | None, str]] = Counter()
    for stay in stays:
        if stay["share"] in _IN_GAP:
            owned[stay["request_id"], _kind(stay)] += stay["pages"]
    claim = "the gap, request by request and kind by kind = owners.parquet"
    check = _equal(claim, shown.total() * size, owned.total() * size)
    return [*checks, replace(check, passed=shown == owned)]


def _shared(
    evidence: Evidence,
    found: PageMap,
    audit: dict[str, Any],
    stays: list[dict[str, Any]],
    drift: int,
) -> list[Check]:
    size = evidence.page_size
    leaked = sum(stay["pages"] for stay in stays if stay["share"] in _IN_GAP)
    tokens = sum(audit[name] for name in ("evictable", "protected", "live", "in_transfer"))
    held = _equal(
        "pages \N{MULTIPLICATION SIGN} holders = evictable + protected + live + in transfer + "
        "leaked + counter drift",
        sum(each.pages * each.holders for each in found.stretches) * size,
        tokens + (leaked + drift) * size,
    )
    if "allocator" in evidence.run["environment"]:
        # What is on a user's own list only that list knows.
        return [] if drift else [held]
    over_freed = -sum(stay["pages"] for stay in stays if stay["share"] == "over-freed")
    return [
        held,
        _equal(
            "pages \N{MULTIPLICATION SIGN} times they are listed as free = available",
            sum(each.pages * each.listed for each in found.stretches) * size,
            audit["available"],
        ),
        _equal(
            "pages counted more than once = pages over-freed",
            sum(each.pages * (each.listed + each.holders - 1) for each in found.stretches) * size,
            over_freed * size,
        ),
    ]


def _kind(stay: dict[str, Any]) -> str:
    return kind_of(stay["share"], stay["closed_audit"] is not None, stay["can_progress"])


def _equal(claim: str, left: int, right: int) -> Check:
    return equal(f"on the map, in tokens: {claim}", left, right)


OWNERSHIP = Part(
    "ownership",
    lambda context: make_ownership(context.evidence, context.anchor),
    lambda evidence, _: check_ownership(evidence),
    link="Page ownership",
    key="ownership",
)
