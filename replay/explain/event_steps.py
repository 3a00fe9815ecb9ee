"""Completion events, and the aborts and timeouts that were aimed at a request, as steps.

An event is one step when it is sent and one for each of its deliveries; what never arrived has its
step when it was due. The step at which a fault acts bears its name: what is lost or held back does
when it is sent, what arrives twice, early, elsewhere or as a failure when it arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from faults.kinds.base import AimedKind
from faults.kinds.registry import kinds_in
from replay.explain.steps import Order, Step
from replay.recording.events import EventFact
from replay.recording.kinds import Outcome
from replay.recording.words import name_of_event, seconds, what_a_fault_did


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
