"""What difference the faults on an event made that an engine could see.

A fault is observed when a receiver looked and found nothing where the event should have been, or was
told something a second time, something else, or in another order. Each rule's fault on one event
counts once, however many of its copies were seen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from faults.events import Direction
from faults.injector import FaultJournal
from faults.kinds.registry import KINDS
from faults.rule import FaultRule
from replay.recording.event_results import Result
from replay.recording.kinds import Outcome
from replay.wires.event_router import EventRouter
from replay.wires.in_flight import EventCopy, EventTable, InFlight


class FaultEffects:
    """Judges every delivery of one replay, has it written down, and counts what rules achieved."""

    def __init__(self, events: EventTable, router: EventRouter) -> None:
        self._events = events
        self._router = router
        self._landed: Counter[str] = Counter()
        self._observed: Counter[str] = Counter()
        #: By pool and direction, when the latest event due of those delivered was due.
        self._latest_due_us: dict[tuple[str, Direction], int] = {}

    def journal(self, decided: FaultJournal) -> FaultJournal:
        """What every rule did: what was decided, and what came of it."""
        return FaultJournal(
            {
                name: replace(rule, landed=self._landed[name], observed=self._observed[name])
                for name, rule in decided.rules.items()
            }
        )

    # What receivers could see.

    def seen_before(self, copy: EventCopy) -> tuple[FaultRule, ...]:
        """The rules whose effect the receiver could see before this delivery reaches it."""
        sent, delivery = copy.of, copy.delivery
        polled_us, event = self._polled_us(sent), sent.event
        if delivery.is_copy:
            was_told = 0 <= sent.told_us <= polled_us
            return delivery.rules if was_told else ()
        if delivery.detour is not None:
            waits = self._router.awaits(sent.request, event)
            return delivery.rules if waits or sent.was_missed else ()
        was_late = sent.was_missed and polled_us >= event.due_us
        was_overtaken = self._latest_due_us.get((event.pool, event.direction), 0) > event.due_us
        return tuple(
            rule
            for rule in delivery.rules
            if (was_late and "late" in KINDS[rule.fault].shows)
            or (was_overtaken and "overtaken" in KINDS[rule.fault].shows)
        )

    # What became of each event.

    def delivered(
        self, copy: EventCopy, now_us: int, told: Result, seen_before: tuple[FaultRule, ...]
    ) -> None:
        """Judge a delivery; `seen_before` is what the method of that name said of it."""
        sent, delivery = copy.of, copy.delivery
        if not delivery.is_copy:
            sent.told_us = now_us
            key = sent.event.pool, sent.event.direction
            self._latest_due_us[key] = max(self._latest_due_us.get(key, 0), sent.event.due_us)
        if not delivery.rules:
            self._events.delivered(copy, now_us, told, False)
            return
        self.note_landed(sent, delivery.rules)
        seen = (*seen_before, *_what_it_did(copy, told, seen_before))
        self._note_observed(sent, seen)
        if copy.is_early:
            # Whether anybody looked before it was due is not known yet.
            copy.told = now_us, told
        else:
            self._events.delivered(copy, now_us, told, bool(seen))

    def early_is_due(self, copy: EventCopy, was_awaited: bool) -> None:
        """Judge an event that came early, at the time at which it would have been due."""
        if was_awaited and self._polled_us(copy.of) >= copy.delivery.at_us:
            self._note_observed(copy.of, copy.delivery.rules)
        copy.is_early = False
        self._write_early(copy)

    def lost_is_due(self, copy: EventCopy) -> None:
        """Judge an event that was lost, at the time at which it would have been due."""
        was_missed = copy.of.was_missed
        if was_missed:
            self._note_observed(copy.of, copy.delivery.rules)
        self._events.lost(copy, was_missed)

    def aimed_fault_ended(
        self, copy: EventCopy, now_us: int, result: Result, has_hit: bool
    ) -> None:
        """Count an abort or a timeout that was aimed at a state."""
        if has_hit:
            self.note_landed(copy.of, copy.delivery.rules)
            self._note_observed(copy.of, copy.delivery.rules)
        self._events.delivered(copy, now_us, result, has_hit)

    def close(self) -> None:
        """Judge events that never arrived before the end, and have them written."""
        under_way = self._events.under_way()
        for copy in under_way:
            sent = copy.of
            held_up = tuple(
                rule for rule in copy.delivery.rules if "late" in KINDS[rule.fault].shows
            )
            if sent.was_missed and held_up and not copy.delivery.is_copy:
                # What other rules would have made of it nobody has seen.
                self.note_landed(sent, held_up)
                self._note_observed(sent, held_up)
                self._events.never_arrived(copy, observed=True)
        for copy in under_way:
            self._write_early(copy)
        self._events.close()

    def _write_early(self, copy: EventCopy) -> None:
        if copy.told is not None:
            self._events.delivered(copy, *copy.told, bool(copy.of.observed))

    # Counting.

    def note_landed(self, sent: InFlight, rules: tuple[FaultRule, ...]) -> None:
        """What these rules did to an event has come about."""
        new = [rule.name for rule in rules if rule.name not in sent.landed]
        sent.landed += tuple(new)
        self._landed.update(new)

    def _note_observed(self, sent: InFlight, rules: tuple[FaultRule, ...]) -> None:
        """An engine could see what these rules did to an event."""
        new = [rule.name for rule in rules if rule.name not in sent.observed]
        sent.observed += tuple(new)
        self._observed.update(new)

    def _polled_us(self, sent: InFlight) -> int:
        return self._router.polled_us(sent.request, sent.event.direction)


def _what_it_did(
    copy: EventCopy, told: Result, seen: tuple[FaultRule, ...]
) -> tuple[FaultRule, ...]:
    """The other rules whose effect is that the receiver did not ignore this delivery."""
    if told.outcome is Outcome.IGNORED:
        return ()
    return tuple(
        rule
        for rule in copy.delivery.rules
        if rule not in seen and (copy.delivery.is_copy or "consumed" in KINDS[rule.fault].shows)
    )
