"""Completion events on the wires, each from its sending until nothing more can be heard of it.

InFlight  the event, and what has been seen of it: shared by all its copies
EventCopy one delivery of it: original or copy, held, on time, late or lost

sent off --> under way --delivered, lost when due, or still under way at the end--> a row of `events`
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from faults.events import CompletionEvent
from faults.injector import Delivery
from replay.pair.request import Request
from replay.pool.arrays import Array
from replay.recording.event_results import LOST, UNDELIVERED, Result
from replay.recording.writer import RecordingWriter


@dataclass(slots=True, eq=False)
class InFlight:
    """One completion event, and what has been seen of it so far."""

    number: int
    request: Request
    event: CompletionEvent
    #: Copies sent off so far, the original included.
    copies: int = 0
    #: Whether its receiver waited for it when it was due, and it was not there.
    was_missed: bool = False
    #: When the original was delivered, -1 before that.
    told_us: int = -1
    #: Rules already counted as landed or observed for this event: each rule counts an event once.
    landed: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class EventCopy:
    """One delivery of an event: the original is copy 0."""

    of: InFlight
    copy: int
    delivery: Delivery
    #: Pages of its request on the receiver's side when it was sent, where it is held until they are
    #: used again; None where that is not asked, or where the request had none any more.
    pages: Array | None = None
    #: Whether it came before its bytes, and its event is not due yet. Until then it is not written,
    #: since the receiver may look: when it was delivered, and what became of it.
    is_early: bool = False
    told: tuple[int, Result] | None = None


class EventTable:
    """All deliveries under way, and the rows that they become."""

    def __init__(self, recorder: RecordingWriter) -> None:
        self._write = recorder.event
        #: In the order in which they were sent off; a dict for its order.
        self._under_way: dict[EventCopy, None] = {}
        #: The number of the event that is sent next.
        self.next_number = 0

    def number(self, request: Request, event: CompletionEvent) -> InFlight:
        """A new event, which takes the next number."""
        self.next_number += 1
        return InFlight(self.next_number - 1, request, event)

    def send_off(self, of: InFlight, delivery: Delivery) -> EventCopy:
        """A delivery is under way from now on."""
        copy = EventCopy(of, of.copies, delivery)
        of.copies += 1
        self._under_way[copy] = None
        return copy

    def under_way(self) -> Iterable[EventCopy]:
        """What has not arrived, in order of event and copy."""
        return sorted(self._under_way, key=lambda copy: (copy.of.number, copy.copy))

    def delivered(self, copy: EventCopy, at_us: int, result: Result, observed: bool) -> None:
        """Write a delivery, and what its receiver made of it.

        `observed` says whether an engine could see what rules did to it.
        """
        self._end(copy, at_us, result, observed)

    def lost(self, copy: EventCopy, observed: bool) -> None:
        """Write the loss of an event, when it was due."""
        self._end(copy, None, LOST, observed)

    def never_arrived(self, copy: EventCopy, observed: bool) -> None:
        """Write a delivery that did not arrive before the end."""
        self._end(copy, None, UNDELIVERED, observed)

    def close(self) -> None:
        """Write every delivery that is still under way as one that never arrived."""
        for copy in list(self._under_way):
            self.never_arrived(copy, observed=False)

    def _end(self, copy: EventCopy, at_us: int | None, result: Result, observed: bool) -> None:
        del self._under_way[copy]
        event, delivery, rules = copy.of.event, copy.delivery, copy.delivery.rules
        self._write(
            (
                copy.of.number,
                copy.copy,
                event.request_id,
                event.direction,
                event.pool,
                event.bootstrap_room,
                event.prefill_tp_rank,
                event.decode_tp_rank,
                event.pages,
                event.sent_us,
                event.due_us,
                at_us,
                delivery.failed,
                " + ".join(rule.fault for rule in rules) if rules else None,
                " + ".join(rule.name for rule in rules) if rules else None,
                result.outcome,
                result.detail,
                observed if rules else None,
            )
        )
