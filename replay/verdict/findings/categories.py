"""The words that people know from Valgrind and LeakSanitizer, and what each means here.

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

from typing import Literal, get_args

#: In the order in which they are listed.
CategoryName = Literal[
    "definitely leaked", "stuck", "still held", "double-owned", "over-freed", "false alarm"
]
CATEGORIES: tuple[CategoryName, ...] = get_args(CategoryName)
SUPPRESSED = "suppressed"

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
