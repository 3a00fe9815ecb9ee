"""What a watched replay saw of a request, as steps: states to the microsecond, and its pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from replay.explain.life import Order, Step
from replay.explain.table_steps import end_step, state_step
from replay.recording.kinds import ENDS, STATES
from replay.recording.owner_codes import FREE
from replay.recording.sightings import PageSighting, Sighted, StateSighting
from replay.recording.words import counted


def sighting_steps(sighted: Sighted) -> Iterator[Step]:
    """The steps of the states and the pages of the watched request, in order."""
    order, time_us = Order.BEFORE, -1
    steps = _merge_growth(
        step for sighting in _in_order(sighted) for step in _steps_of(sighted, sighting)
    )
    has_landed = False
    for step in steps:
        # At one time, what comes later in truth is not told earlier.
        order = order if step.time_us == time_us else Order.BEFORE
        own = Order.AFTER if has_landed and step.order is Order.BEFORE else step.order
        order, time_us = max(order, own), step.time_us
        has_landed = has_landed or step.what == STATES["landed"].begins
        yield dataclasses.replace(step, order=order)


def _in_order(sighted: Sighted) -> list[StateSighting | PageSighting]:
    return sorted((*sighted.states, *sighted.pages), key=lambda each: each.sequence)


def _steps_of(sighted: Sighted, sighting: StateSighting | PageSighting) -> Iterator[Step]:
    if isinstance(sighting, PageSighting):
        yield from _page_steps(sighted, sighting)
    elif sighting.state in ENDS:
        yield end_step(sighting.state, sighting.time_us, sighting.pool, sighting.sequence)
    elif sighting.state in STATES:
        yield state_step(sighting.state, sighting.time_us, sighting.pool, sighting.sequence)
    else:
        what = (
            "its client goes away, which both sides are told"
            if sighting.state == "client went away"
            else f"its wait has taken too long ({sighting.state})"
        )
        yield _step(sighting, what, departs=True)


def _page_steps(sighted: Sighted, sighting: PageSighting) -> Iterator[Step]:
    """Its own operation on pages, and those of others on pages that are its own."""
    mine = sighted.code
    own = [at for at, by in enumerate(sighting.by) if by == mine]
    if own:
        yield _own_pages(sighted, sighting, own)
    of_others: dict[int, list[int]] = {}
    for at, by in enumerate(sighting.by):
        if by != mine:
            of_others.setdefault(by, []).append(at)
    for by, places in of_others.items():
        numbers = tuple(sighting.pages[at] for at in places)
        words = {
            "take": "are given to another as well:",
            "release": "are released by another:",
            "cache": "are handed to the prefix cache by another:",
            "evict": "are evicted by",
            "stray-write": "are written by the transfer of",
            "stray-read": "are read by the transfer of",
        }[sighting.action]
        what = f"{len(numbers):,} of its pages {words} {sighted.name(by)}"
        yield _step(sighting, what, numbers, departs=True)


def _own_pages(sighted: Sighted, sighting: PageSighting, places: list[int]) -> Step:
    numbers = tuple(sighting.pages[at] for at in places)
    count = counted(len(numbers), "page")
    if sighting.action in ("stray-write", "stray-read"):
        does = "land in" if sighting.action == "stray-write" else "are read from"
        holders = _others(sighted, sighting, places, free=False)
        what = f"its bytes {does} {count} that are not its own any more: {holders}"
        return _step(sighting, what, numbers, departs=True)
    right = FREE if sighting.action == "take" else sighted.code
    wrong = [at for at in places if sighting.holders[at] != right]
    what = {
        "take": f"takes {count}",
        "release": f"gives {count} back",
        "cache": f"hands {count} to the prefix cache",
    }[sighting.action]
    if wrong:
        holders = _others(sighted, sighting, wrong, free=sighting.action != "take")
        what += f", of which {len(wrong):,} are not its to {_verb(sighting)}: {holders}"
    return _step(sighting, what, numbers, departs=bool(wrong))


def _verb(sighting: PageSighting) -> str:
    return "take" if sighting.action == "take" else "give"


def _others(sighted: Sighted, sighting: PageSighting, places: list[int], free: bool) -> str:
    """Whose pages these are, the most first."""
    holders = [sighting.holders[at] for at in places]
    names = sorted(set(holders), key=lambda code: (-holders.count(code), code))
    told = [
        "free already" if code == FREE and free else f"{sighted.name(code)}'s" for code in names[:3]
    ]
    return ", ".join(told) + (", ..." if len(names) > 3 else "")


def _step(
    sighting: StateSighting | PageSighting,
    what: str,
    numbers: tuple[int, ...] = (),
    departs: bool = False,
) -> Step:
    return Step(
        time_us=sighting.time_us,
        order=Order.BEFORE,
        kind="pages" if numbers else "state",
        where=sighting.pool,
        what=what,
        departs=departs,
        pages=len(numbers) or None,
        page_numbers=numbers,
        sequence=sighting.sequence,
    )


def _merge_growth(steps: Iterator[Step]) -> Iterator[Step]:
    """Pages taken one after the other, with nothing between, become one step."""
    held: Step | None = None
    for step in steps:
        is_growth = step.kind == "pages" and step.what.startswith("takes ") and not step.departs
        if held is not None and is_growth and held.where == step.where:
            numbers = held.page_numbers + step.page_numbers
            what = f"takes {counted(len(numbers), 'page')}, the last at {step.time_us / 1e6:.6f} s"
            held = dataclasses.replace(held, what=what, pages=len(numbers), page_numbers=numbers)
            continue
        if held is not None:
            yield held
        held = step if is_growth else None
        if not is_growth:
            yield step
    if held is not None:
        yield held
