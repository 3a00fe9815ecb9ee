"""The life of one page of a pool, from a replay that was watched and the tables of its recording."""

from __future__ import annotations

from dataclasses import dataclass

from replay.explain.event_steps import event_steps
from replay.explain.gap_steps import gap_steps
from replay.explain.request_facts import instances_beside
from replay.explain.sightings import PageSighting, Sighted
from replay.explain.stays_of_page import stays_of_page
from replay.explain.steps import Life, Order, Step, StepKind, first_departure, in_order
from replay.pool.owner_codes import CACHE, FREE
from replay.recording.events import read_events
from replay.recording.reader import Recording
from replay.recording.words import place_words, seconds


@dataclass(frozen=True, slots=True)
class PageName:
    """A page as people name it: `decode0/dp3:412`."""

    pool: str
    number: int

    def __str__(self) -> str:
        """The same text."""
        return f"{self.pool}:{self.number}"


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
    stays = stays_of_page(recording, page.pool, sighted)
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
    place = place_words(page.pool, instances_beside(recording, page.pool))
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
