"""A request's stays in the gap of a pool, and reads that found wrong bytes, as steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replay.explain.steps import Order, Step
from replay.verdict.episodes import kind_of


def gap_steps(stay: Mapping[str, Any], foreign: bool = False) -> Iterator[Step]:
    """A row of owners.parquet: when the pages entered the gap and, if they did, left it."""
    closed, pages = stay["closed_audit"] is not None, stay["pages"]
    kind = kind_of(stay["share"], closed, stay["can_progress"])
    if pages > 0:
        what = f"{pages:,} of its pages enter the gap: {kind}, in the state {stay['state']}"
        end = f"{pages:,} of its pages leave the gap: {stay['ended_by']}"
    else:
        what = (
            f"{counted(-pages, 'page')} too many become free: {kind}, in the state {stay['state']}"
        )
        end = f"{counted(-pages, 'page')} fewer are free again: {stay['ended_by']}"
    if not closed:
        what += "; they never leave it" if pages > 0 else "; they stay so"
    request_id = stay["request_id"] if foreign else None
    yield Step(
        time_us=stay["opened_us"],
        order=Order.GAP,
        kind="gap",
        where=stay["pool"],
        what=what,
        departs=True,
        audit=stay["opened_audit"],
        request_id=request_id,
        pages=pages,
        sequence=2 * stay["opened_audit"] + 1,
    )
    if closed:
        yield Step(
            time_us=stay["closed_us"],
            order=Order.GAP,
            kind="gap",
            where=stay["pool"],
            what=end,
            audit=stay["closed_audit"],
            request_id=request_id,
            pages=-pages,
            sequence=2 * stay["closed_audit"],
        )


def read_step(read: Mapping[str, Any]) -> Step:
    """A row of contents.parquet: a read that found other bytes than the request's own."""
    if read["wrong_first_token"]:
        what = f"its first token comes from a buffer that is not its own: {read['why']}"
        numbers: tuple[int, ...] = ()
    else:
        what = (
            f"{read['wrong_pages']} of the {counted(read['pages'], 'page')} it reads hold other "
            f"bytes than its own, page {read['first_page']} first: {read['why']}"
        )
        numbers = (read["first_page"],)
    return Step(
        time_us=read["time_us"],
        order=Order.READ,
        kind="read",
        where=read["pool"],
        what=what,
        departs=True,
        event=read["event"],
        pages=read["wrong_pages"],
        page_numbers=numbers,
    )


def counted(count: int, noun: str) -> str:
    """A count and its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
