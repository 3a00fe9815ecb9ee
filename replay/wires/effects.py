"""What difference the faults on an event made that an engine could see.

A fault is observed when a receiver looked and found nothing where the event should have been, or was
told something a second time, something else, or in another order. Each rule's fault on one event
counts once, however many of its copies were seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from faults.events import CompletionEvent, Direction
from faults.injector import Delivery, FaultInjector
from faults.rule import FaultRule
from replay.pair.request import Request
from replay.recording.event_results import was_ignored
from replay.recording.writer import EventRow, RecordingWriter
from replay.wires.event_router import Receivers

#: Faults that are seen although, and because, the event never arrived.
_HOLDING_UP = ("delay", "reorder")


@dataclass(slots=True, eq=False)
class SentEvent:
    """An event from the moment it is sent, or came early."""

    number: int
    request: Request
    event: CompletionEvent
    #: Whether its receiver waited for it when it was due, and it was not there.
    was_missed: bool = False
    #: When the original was delivered, -1 before that.
    told_us: int = -1
    #: Rules of which something has come about, and was seen: an event is one fault to a rule.
    landed: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    #: How it was delivered, if it came early, until it is known whether anybody looked.
    came_early: tuple[EventRow, int, str] | None = None


class Observations:
    """Judges every touched delivery of one replay and writes it down."""

    def __init__(
        self, injector: FaultInjector, recorder: RecordingWriter, receivers: Receivers
    ) -> None:
        self._injector = injector
        self._recorder = recorder
        self._receivers = receivers
        #: Touched deliveries under way, by (number, copy).
        self._under_way: dict[tuple[int, int], tuple[SentEvent, Delivery]] = {}
        #: Events that may come early, until it is known whether anybody looked, by number.
        self._undecided: dict[int, SentEvent] = {}
        #: By pool and direction, when the latest event due of those delivered was due.
        self._latest_due_us: dict[tuple[str, Direction], int] = {}

    def expect(self, sent: SentEvent, copy: int, delivery: Delivery) -> None:
        """A touched delivery is on its way, or held."""
        self._under_way[sent.number, copy] = sent, delivery

    def before(self, sent: SentEvent, delivery: Delivery) -> tuple[FaultRule, ...]:
        """The rules whose effect the receiver could see before this delivery reaches it."""
        polled_us, event = self._polled_us(sent), sent.event
        if delivery.is_copy:
            was_told = 0 <= sent.told_us <= polled_us
            return delivery.rules if was_told else ()
        if delivery.detour is not None:
            waits = self._receivers.awaits(sent.request, event)
            return delivery.rules if waits or sent.was_missed else ()
        was_late = sent.was_missed and polled_us >= event.due_us
        was_overtaken = self._latest_due_us.get((event.pool, event.direction), 0) > event.due_us
        return tuple(
            rule
            for rule in delivery.rules
            if (rule.fault in _HOLDING_UP and was_late)
            or (rule.fault == "reorder" and was_overtaken)
        )

    def delivered(
        self,
        sent: SentEvent,
        delivery: Delivery,
        row: EventRow,
        now_us: int,
        told: str,
        seen_before: tuple[FaultRule, ...],
    ) -> None:
        """Write a delivery and what came of it; `seen_before` is what `before` said of it."""
        if not delivery.is_copy:
            sent.told_us = now_us
            key = sent.event.pool, sent.event.direction
            self._latest_due_us[key] = max(self._latest_due_us.get(key, 0), sent.event.due_us)
        if not delivery.rules:
            self._recorder.delivered(row, now_us, told, False)
            return
        del self._under_way[row.number, row.copy]
        self._note_landed(sent, delivery.rules)
        seen = (*seen_before, *_what_it_did(told, delivery, seen_before))
        self._note_observed(sent, seen)
        if row.copy == 0 and row.number in self._undecided:
            sent.came_early = row, now_us, told
        else:
            self._recorder.delivered(row, now_us, told, bool(seen))

    def lost(self, sent: SentEvent, row: EventRow) -> None:
        """Write an event that was lost, when it was due."""
        if sent.was_missed:
            self._note_observed(sent, row.rules)
        self._recorder.lost(row, sent.was_missed)

    def await_decision(self, sent: SentEvent) -> None:
        """The event comes early; whether anybody looks before it was due is yet to be seen."""
        self._undecided[sent.number] = sent

    def decide(self, sent: SentEvent, delivery: Delivery, was_awaited: bool) -> None:
        """Write an event that came early, when it would have been due."""
        if was_awaited and self._polled_us(sent) >= delivery.at_us:
            self._note_observed(sent, delivery.rules)
        self._write_early(sent)

    def close(self) -> None:
        """Note what was missed of events that never arrived before the end."""
        for (number, copy), (sent, delivery) in sorted(
            self._under_way.items(), key=lambda item: item[0]
        ):
            held_up = tuple(rule for rule in delivery.rules if rule.fault in _HOLDING_UP)
            if sent.was_missed and held_up and not delivery.is_copy:
                # What other rules would have made of it nobody has seen.
                self._note_landed(sent, held_up)
                self._note_observed(sent, held_up)
                self._recorder.never_arrived(number, copy, observed=True)
        self._under_way.clear()
        for sent in list(self._undecided.values()):
            self._write_early(sent)

    def _write_early(self, sent: SentEvent) -> None:
        del self._undecided[sent.number]
        if sent.came_early is not None:
            row, delivered_us, told = sent.came_early
            self._recorder.delivered(row, delivered_us, told, bool(sent.observed))

    def _note_landed(self, sent: SentEvent, rules: tuple[FaultRule, ...]) -> None:
        new = tuple(rule for rule in rules if rule.name not in sent.landed)
        sent.landed += tuple(rule.name for rule in new)
        self._injector.note_landed(new)

    def _note_observed(self, sent: SentEvent, rules: tuple[FaultRule, ...]) -> None:
        new = tuple(rule for rule in rules if rule.name not in sent.observed)
        sent.observed += tuple(rule.name for rule in new)
        self._injector.note_observed(new)

    def _polled_us(self, sent: SentEvent) -> int:
        return self._receivers.polled_us(sent.request, sent.event.direction)


def _what_it_did(
    told: str, delivery: Delivery, seen: tuple[FaultRule, ...]
) -> tuple[FaultRule, ...]:
    """The other rules whose effect is that the receiver did not ignore this delivery."""
    if was_ignored(told):
        return ()
    return tuple(
        rule
        for rule in delivery.rules
        if rule not in seen and (delivery.is_copy or rule.fault in ("fail", "misroute"))
    )
