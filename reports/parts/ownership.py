"""Whose every page of the pool is at the worst gap: the map, its legend, and the pages of the gap.

pages.parquet has the pages in stretches of equal ones; a stay in owners.parquet says of what kind a
request's pages in the gap are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from replay.recording.kinds import PageState
from replay.verdict.episodes import kind_of
from reports.evidence import Evidence
from reports.parts.tables import ROWS_MAX, Column, Table
from reports.words import NOTHING, counted, number, seconds

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Category:
    """What pages of a map can be: a word that is also its class, and what it means."""

    word: str
    meaning: str
    in_gap: bool = False


#: From the most ordinary to the worst; a cell of the map shows the last one in it that is in the gap.
CATEGORIES = (
    Category("free", "on the free list"),
    Category("cached", "in the prefix cache, and may be evicted"),
    Category("protected", "in the prefix cache, and locked by a request that can go on"),
    Category("running", "of a request that is computed or waits its turn"),
    Category("in transfer", "of a transfer that is not overdue"),
    Category("held", "of an overdue transfer that can still be concluded", True),
    Category("cache-held", "in the prefix cache, and locked by an overdue transfer", True),
    Category("stuck", "of a transfer that can never be concluded", True),
    Category("orphaned", "of a request that the engine has forgotten", True),
    Category("over-freed", "released too often: free while somebody holds it, or free twice", True),
    Category(
        "double-owned", "held by two at once: two requests, or one and the prefix cache", True
    ),
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
    from reports.parts.ownership_svg import draw, pages_per_cell, swatch

    mismatch = evidence.summary["mismatch"]
    if mismatch is None:
        return None
    title = "Whose pages they are at the worst gap"
    found = read_page_map(evidence)
    if found is None:
        told = (
            "This recording has no map: it was made by an earlier version of kvreplay, or its "
            "pages.parquet is empty. Replay it to have one."
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
        told=f"Pool {found.pool} at {seconds(found.time_us)}, audit {number(found.audit)}, page by "
        "page in the order of their addresses." + _told_of_excess(evidence, found),
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


def read_page_map(evidence: Evidence) -> PageMap | None:
    """The map as recorded, with the kind of every page in the gap; None where there is none."""
    table = evidence.tables.get("pages")
    if table is None or not table.num_rows:
        return None
    table = table.sort_by([("first_page", "ascending")])
    pool, audit = table["pool"][0].as_py(), table["audit"][0].as_py()
    row = _audit_row(evidence, audit)
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
    import pyarrow.compute as pc

    owners = evidence.tables["owners"]
    closed = pc.fill_null(pc.greater(owners["closed_audit"], audit), True)
    here = pc.and_(pc.equal(owners["pool"], pool), pc.less_equal(owners["opened_audit"], audit))
    rows: list[dict[str, Any]] = owners.filter(pc.and_(here, closed)).to_pylist()
    return rows


def _audit_row(evidence: Evidence, audit: int) -> dict[str, Any] | None:
    import pyarrow.compute as pc

    audits = evidence.tables["audits"]
    rows = audits.filter(pc.equal(audits["audit"], audit)).to_pylist()
    return rows[0] if rows else None


def _word(state: str, request_id: str | None, kinds: dict[tuple[str | None, str], str]) -> str:
    """The category of a page: that of its owner's stay where it is in the gap."""
    if state == PageState.STALLED.value:
        return kinds.get((request_id, state), "stuck")
    return _OF_STATE.get(state, state)


def _told_of_excess(evidence: Evidence, found: PageMap) -> str:
    """How the gap comes about where pages are counted more than once."""
    excess = sum(each.pages * (each.listed + each.holders - 1) for each in found.stretches)
    if not excess:
        return ""
    stays = stays_at(evidence, found.pool, found.audit)
    leaked = sum(stay["pages"] for stay in stays if stay["share"] != "over-freed")
    return (
        f" {counted(leaked, 'page')} leaked, and pages are counted {counted(excess, 'time')} more "
        f"often than they exist, some of them among the former: {number(leaked)} \N{MINUS SIGN} "
        f"{number(excess)} = {number(leaked - excess)}, the gap in pages."
    )


def _cautions(evidence: Evidence, found: PageMap) -> Iterable[str]:
    mismatch = evidence.summary["mismatch"]
    if (found.pool, found.audit) != (mismatch["pool"], mismatch["audit"]):
        yield (
            f"This is not the audit of the worst gap: that is audit {number(mismatch['audit'])} of "
            f"{mismatch['pool']}, with a gap of {counted(mismatch['gap'], 'token')}; here it is "
            f"{counted(found.gap_tokens, 'token')}. A pool this large is not copied at every wider "
            "gap."
        )
    drift = sum(
        stay["pages"]
        for stay in stays_at(evidence, found.pool, found.audit)
        if stay["share"] == "counter-drift"
    )
    if drift:
        yield (
            f"{counted(drift, 'page')} of the gap are on no map: a counter is wrong, and no page is "
            "in another place than it should be."
        )


def _cell_rule(cell: int) -> str:
    if cell == 1:
        return "every page of the gap is seen."
    return "a cell with even one page of the gap shows that page."


def _percent(part: int, whole: int) -> str:
    if not part:
        return "0 %"
    share = 100 * part / whole
    return "< 0.01 %" if share < 0.01 else f"{share:,.2f} %"


def _gap_table(found: PageMap) -> Table:
    """The stretches of the gap, in page order."""
    in_gap = {category.word for category in CATEGORIES if category.in_gap}
    rows = [each for each in found.stretches if each.word in in_gap]
    shown = tuple(
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
    columns = (
        Column("first page", numeric=True),
        Column("last page", numeric=True),
        Column("pages", numeric=True),
        Column("kind"),
        Column("request"),
        Column("also held by"),
    )
    return Table("Pages of the gap", columns, shown, len(rows))
