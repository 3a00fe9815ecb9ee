"""The tables of a recording as steps of a life.

A state is a step when it begins. An event is one when it is sent and one for each of its deliveries;
an event that never arrived has its step when it was due. The step at which a fault acts bears its name:
where the event is sent if it is lost or held back, where it arrives if it comes twice, early, elsewhere
or as a failure. A stay in a gap is a step when it opens and one when it closes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from faults.kinds.base import AimedKind
from faults.kinds.registry import kinds_in
from replay.explain.life import Order, Step
from replay.recording.events import EventFact
from replay.recording.kinds import ENDS, STATES, Outcome
from replay.recording.requests import SIDES, RequestRow, Side
from replay.recording.words import counted, name_of_event, seconds, what_a_fault_did
from replay.verdict.episodes import kind_of

#: States of the bytes, which decode is in while it waits for them.
_BYTES = frozenset({"moving", "landed"})
_AFTER = frozenset({"waiting", "running", "retracted", "deferred"})


# Requests.


def arrival_step(row: RequestRow) -> Step:
    """When the request came, and how large it is."""
    what = (
        f"arrives: {counted(row.input_tokens, 'prompt token')} "
        f"({counted(row.prompt_pages, 'page')}), "
        f"{counted(row.output_tokens, 'output token')}; it goes to {row.prefill_pool} and "
        f"{row.decode_pool}"
    )
    return Step(time_us=row.arrival_us, order=Order.ARRIVAL, kind="arrival", where="", what=what)


def row_steps(row: RequestRow) -> Iterator[Step]:
    """The states that the row of a request says it passed, and its bytes, in no particular order."""
    for side in SIDES:
        for stay in row.stays(side):
            if stay.state not in _BYTES:
                yield state_step(stay.state, stay.start_us, row.pool(side))
    # Bytes move and land whatever state the request is in by then.
    for state, time_us in (("moving", row.transfer_start_us), ("landed", row.landed_us)):
        if time_us >= 0:
            yield state_step(state, time_us, row.decode_pool)
    ended: dict[Side, int] = {"prefill": row.prefill_ended_us, "decode": row.ended_us}
    for side, time_us in ended.items():
        if time_us >= 0:
            yield end_step(row.state(side), time_us, row.pool(side))


def unended_steps(row: RequestRow, end_us: int) -> Iterator[Step]:
    """What either side still had when the replay ended."""
    for side in SIDES:
        state = row.state(side)
        if state not in ENDS and not (state == "absent" and row.ended_us < 0):
            what = f"{side} still has it ({state}) when the replay ends"
        elif state == "absent":
            what = "decode had not been offered it when the replay ends"
        else:
            continue
        yield Step(
            time_us=max(end_us, row.arrival_us),
            order=Order.GAP,
            kind="end",
            where=row.pool(side),
            what=what,
            departs=True,
            # After whatever an audit saw then.
            sequence=1 << 62,
        )


def state_step(state: str, time_us: int, where: str, sequence: int = 0) -> Step:
    """A request comes into a state."""
    is_bytes = state in _BYTES
    return Step(
        time_us=time_us,
        order=Order.AFTER if state in _AFTER else Order.BEFORE,
        kind="bytes" if is_bytes else "state",
        where=where,
        what=STATES[state].begins + ("" if is_bytes else f" ({state})"),
        departs=state == "deferred",
        sequence=sequence,
    )


def end_step(state: str, time_us: int, where: str, sequence: int = 0) -> Step:
    """One side is done with a request."""
    words = ENDS[state]
    return Step(
        time_us=time_us,
        order=Order.END,
        kind="end",
        where=where,
        what=words.step,
        departs=not words.is_healthy,
        sequence=sequence,
    )


# Completion events, and what was aimed at a state.


def event_steps(
    events: Sequence[EventFact], sender: dict[str, str], foreign: bool = False
) -> Iterator[Step]:
    """The steps of these events.

    Args:
        events: every delivery of each, in the order in which they were sent.
        sender: by direction, the pool that events are sent from.
        foreign: whether they are those of another request, which the steps then name.
    """
    for _, group in groupby(events, key=lambda event: event.event):
        deliveries = list(group)
        if deliveries[0].is_aimed:
            yield from (_aimed_step(event, foreign) for event in deliveries)
            continue
        yield _sent_step(deliveries, sender, foreign)
        yield from (_delivered_step(event, foreign) for event in deliveries)


def _sent_step(deliveries: list[EventFact], sender: dict[str, str], foreign: bool) -> Step:
    first, name = deliveries[0], name_of_event(deliveries[0])
    held_back = [event for event in deliveries if _is_held_back(event)]
    what = f"{name} is sent"
    if any(_came_before_its_bytes(event) for event in deliveries):
        what = f"{name} would be sent only now"
    if held_back:
        what += f": {_how_held_back(held_back[0])}"
    return Step(
        time_us=first.sent_us,
        order=Order.SENT,
        kind="sent",
        where=sender[first.direction],
        what=what,
        blame="; ".join(map(what_a_fault_did, held_back[:1])),
        departs=any(event.observed is not False for event in held_back),
        fault=held_back[0].fault if held_back else None,
        rule=held_back[0].rule if held_back else None,
        event=first.event,
        request_id=first.request_id if foreign else None,
    )


def _delivered_step(event: EventFact, foreign: bool) -> Step:
    name = name_of_event(event)
    is_fault = event.rule is not None and not _is_held_back(event)
    if event.outcome is Outcome.LOST:
        what = f"{name} was due, and never comes"
    elif event.delivered_us is None:
        what = f"{name} was due, and had not come when the replay ended"
    else:
        late_us = event.delivered_us - event.due_us
        late = f", {seconds(late_us)} late" if late_us > 0 and not event.copy else ""
        again = " again" if event.copy else ""
        failed = ", says that the transfer failed" if event.failed else ""
        what = f"{name} arrives{again}{late}{failed}: {event.result}"
    if event.observed is False:
        what += " (the fault made no difference)"
    is_fatal = event.outcome is Outcome.CRASHED
    return Step(
        time_us=event.came_us,
        order=Order.DELIVERED,
        kind="delivered",
        where=event.pool,
        what=what,
        blame=what_a_fault_did(event) if is_fault else "",
        departs=is_fatal or (is_fault and event.observed is not False),
        fault=event.fault,
        rule=event.rule,
        event=event.event,
        copy=event.copy,
        request_id=event.request_id if foreign else None,
    )


def _aimed_step(event: EventFact, foreign: bool) -> Step:
    if event.delivered_us is None:
        what = f"a {event.fault} was aimed at it, and had not come when the replay ended"
    else:
        effects = [kind.effect for kind in kinds_in(event.fault) if isinstance(kind, AimedKind)]
        what = f"{' and '.join(effects) or event.fault}: {event.result}"
    return Step(
        time_us=event.came_us,
        order=Order.DELIVERED,
        kind="aimed",
        where=event.pool,
        what=what,
        blame=what_a_fault_did(event),
        departs=event.delivered_us is not None and event.observed is not False,
        fault=event.fault,
        rule=event.rule,
        event=event.event,
        copy=event.copy,
        request_id=event.request_id if foreign else None,
    )


def _is_held_back(event: EventFact) -> bool:
    """Whether the fault acted when the event was sent."""
    if event.rule is None or event.copy:
        return False
    if event.outcome is Outcome.LOST:
        return True
    return any(kind.stage.acts_on_sending for kind in kinds_in(event.fault))


def _how_held_back(event: EventFact) -> str:
    if event.outcome is Outcome.LOST:
        return "it is lost on its way"
    if event.delivered_us is None:
        return "it is held back and has not arrived when the replay ends"
    return f"it is held back until {seconds(event.delivered_us)}"


def _came_before_its_bytes(event: EventFact) -> bool:
    return event.delivered_us is not None and event.delivered_us < event.sent_us


# Gaps and reads.


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
