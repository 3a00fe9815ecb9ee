"""The life of one page of a pool, from a replay that was watched and the tables of its recording.

A page is in a gap with the stays of whoever held it, while it was held:

    stalled, departed    every page that the request holds then
    cache-held           pages of the cache that the request's transfer reads
    over-freed           the page that the request gave back without holding it
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from replay.explain.life import Life, Order, Step, StepKind, first_departure, in_order
from replay.explain.subject import PageName
from replay.explain.table_steps import event_steps, gap_steps
from replay.recording.events import read_events
from replay.recording.kinds import ShareKind
from replay.recording.owner_codes import CACHE, FREE
from replay.recording.reader import Recording
from replay.recording.sightings import PageSighting, Sighted
from replay.recording.tables import OWNERS_SCHEMA
from replay.recording.words import place_words, seconds

#: (from, until), in virtual microseconds.
_Span = tuple[int, int]
_FOREVER = 1 << 62


def page_life(recording: Recording, page: PageName, sighted: Sighted) -> Life:
    """Tell the life of a page.

    Args:
        recording: where its owners' stays in a gap, and the faults that hit them, are read.
        page: which one.
        sighted: what a watched replay saw of it.

    Raises:
        RecordingError: a table is missing or broken.
    """
    told = [_page_step(sighted, sighting) for sighting in sighted.pages]
    stays = _stays(recording, page.pool, sighted)
    gaps = [step for stay in stays for step in gap_steps(stay, foreign=True)]
    guilty = {step.request_id for step in (*told, *gaps) if step.departs and step.request_id}
    events = read_events(recording, guilty, touched_only=True)
    sender = _senders(page.pool)
    faults = [
        step
        for request_id in sorted(events)
        for step in event_steps(
            [event for event in events[request_id] if event.pool == page.pool],
            sender,
            foreign=True,
        )
        if step.fault is not None
    ]
    steps = in_order((*told, *gaps, *faults))
    blame = first_departure(steps)
    return Life(
        subject="page",
        name=str(page),
        headline=_headline(recording, page, sighted, steps, blame),
        facts=_facts(recording, page, sighted),
        steps=steps,
        blame=blame,
        source="replay",
    )


def _page_step(sighted: Sighted, sighting: PageSighting) -> Step:
    """One thing that is done to the page."""
    by, holder = sighting.by[0], sighting.holders[0]
    right, what, wrong = _ACTIONS[sighting.action]
    is_wrong = sighting.is_wrong or not _is_right(right, by, holder)
    if is_wrong and sighting.is_wrong:
        what = "decode reads other bytes from it than its own"
    elif is_wrong:
        what = wrong + _holder_words(sighted, holder)
    return Step(
        time_us=sighting.time_us,
        order=_ORDERS.get(sighting.action, Order.AFTER),
        kind=_KINDS.get(sighting.action, "pages"),
        where=sighting.pool,
        what=what,
        departs=is_wrong,
        request_id=None if by <= CACHE else sighted.name(by),
        sequence=sighting.sequence,
    )


#: Action -> (who may own the page before, what is done, what is done if somebody else does).
_ACTIONS = {
    "take": ("nobody", "takes it", "takes it although it is owned"),
    "release": ("self", "gives it back", "gives it back although it is not its own"),
    "cache": ("self", "hands it to the prefix cache", "hands it over although it is not its own"),
    "evict": ("self", "evicted from the prefix cache", "evicted, although it is not the cache's"),
    "landed": ("self", "its bytes land in it", "its bytes land in it although it is not its own"),
    "sent": ("anybody", "its transfer reads it", ""),
    "stray-read": (
        "reader",
        "its transfer reads it",
        "its transfer reads it, not its own any more",
    ),
    "read": ("self", "decode reads it", "decode reads it although it is not its own"),
}
_ORDERS = {"landed": Order.BEFORE, "sent": Order.BEFORE, "stray-read": Order.BEFORE}
_KINDS: dict[str, StepKind] = {
    "landed": "bytes",
    "sent": "bytes",
    "stray-read": "bytes",
    "read": "read",
}


def _is_right(right: str, by: int, holder: int) -> bool:
    if right == "nobody":
        return holder == FREE
    if right == "reader":
        return holder in (by, CACHE)
    return right == "anybody" or holder == by


def _holder_words(sighted: Sighted, holder: int) -> str:
    return ": it is free" if holder == FREE else f": it is {sighted.name(holder)}'s"


def _senders(pool: str) -> dict[str, str]:
    """Where events that are told to this pool come from: the other side, whichever rank."""
    other = "prefill" if pool.startswith("decode") else "decode"
    return {"decode": other, "prefill": other}


def _headline(
    recording: Recording,
    page: PageName,
    sighted: Sighted,
    steps: tuple[Step, ...],
    blame: int | None,
) -> str:
    """One sentence: how often it changed hands, whose it is in the end, and what went wrong first."""
    place = place_words(page.pool, recording.instances(page.pool))
    takes = sum(sighting.action == "take" for sighting in sighted.pages)
    if not takes:
        return f"Page {page.number} of {place} was never given to anybody."
    hands = "once" if takes == 1 else f"{takes:,} times"
    told = f"Page {page.number} of {place} was given out {hands} and {_end(sighted)}"
    if blame is None:
        return f"{told}: nothing in its life is out of the ordinary."
    step = steps[blame]
    whose = f"{step.request_id} " if step.request_id and not step.blame else ""
    words = step.blame or f"at {seconds(step.time_us)} {whose}{step.what}"
    rule = f" (rule {step.rule!r})" if step.rule else ""
    return f"{told}: {words}{rule}."


def last_holder(sighted: Sighted) -> int:
    """Who owns the page when the replay ends."""
    holder = FREE
    for sighting in sighted.pages:
        if sighting.action == "take":
            holder = sighting.by[0]
        elif sighting.action in ("release", "evict"):
            holder = FREE
        elif sighting.action == "cache":
            holder = CACHE
    return holder


def _end(sighted: Sighted) -> str:
    holder = last_holder(sighted)
    if holder == FREE:
        return "is free in the end"
    return f"is {sighted.name(holder)}'s in the end"


def _facts(recording: Recording, page: PageName, sighted: Sighted) -> tuple[tuple[str, str], ...]:
    size = recording.run["profile"]["page_size"]
    owners = {sighting.by[0] for sighting in sighted.pages if sighting.action == "take"}
    return (
        ("pool", page.pool),
        ("page", f"{page.number:,}, of {size:,} tokens"),
        ("owners", f"{len(owners):,}"),
    )


# Its stays in a gap.


def _stays(recording: Recording, pool: str, sighted: Sighted) -> list[dict[str, Any]]:
    """The rows of owners.parquet whose pages this one was among.

    Raises:
        RecordingError: the table is missing or broken.
    """
    held, cached, freed_wrongly = _spans(sighted)
    users = {sighted.name(code) for code in _users(sighted)}
    found = []
    for batch in recording.batches("owners", OWNERS_SCHEMA.names):
        for stay in batch.filter(pc.equal(batch["pool"], pool)).to_pylist():
            owner, share = stay["request_id"], stay["share"]
            if share == ShareKind.OVER_FREED:
                is_here = stay["opened_us"] in freed_wrongly.get(owner, ())
            elif share == ShareKind.CACHE_HELD:
                is_here = owner in users and _overlaps(stay, cached)
            else:
                is_here = _overlaps(stay, held.get(owner, []))
            if is_here:
                found.append(stay)
    return found


def _spans(sighted: Sighted) -> tuple[dict[str, list[_Span]], list[_Span], dict[str, list[int]]]:
    """When each request held the page, when the cache did, and who freed it wrongly when."""
    held: dict[str, list[_Span]] = {}
    cached: list[_Span] = []
    freed_wrongly: dict[str, list[int]] = {}
    holder, since_us = FREE, 0

    def close(until_us: int) -> None:
        if holder == CACHE:
            cached.append((since_us, until_us))
        elif holder != FREE:
            held.setdefault(sighted.name(holder), []).append((since_us, until_us))

    for sighting in sighted.pages:
        by, time_us = sighting.by[0], sighting.time_us
        if sighting.action not in ("take", "release", "cache", "evict"):
            continue
        if sighting.action == "release" and sighting.holders[0] != by:
            freed_wrongly.setdefault(sighted.name(by), []).append(time_us)
        close(time_us)
        holder = {"take": by, "cache": CACHE}.get(sighting.action, FREE)
        since_us = time_us
    close(_FOREVER)
    return held, cached, freed_wrongly


def _users(sighted: Sighted) -> set[int]:
    """Who gave the page to the cache, or had it read by a transfer."""
    return {
        sighting.by[0]
        for sighting in sighted.pages
        if sighting.action in ("cache", "sent", "stray-read")
    }


def _overlaps(stay: dict[str, Any], spans: list[_Span]) -> bool:
    end_us = _FOREVER if stay["closed_us"] is None else stay["closed_us"]
    return any(
        since_us <= stay["opened_us"] < until_us or stay["opened_us"] <= since_us < end_us
        for since_us, until_us in spans
    )
