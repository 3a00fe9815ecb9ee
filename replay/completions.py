"""Completion events on their way: shown to the fault injector as they are sent, then delivered.

    bytes land --> decode receivers <--completions------- [fault injector]
               --> prefill senders  <--acknowledgements-- [fault injector]

This is the only place where a fault acts on an event, and where it is seen whether that made a
difference: whether the receiver has polled between the moment at which the event should have been
there and the one at which it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from faults.events import CompletionEvent, Direction
from faults.injector import Delivery, FaultInjector, Outcome
from faults.kinds import FaultRule
from replay.clock import Clock, Priority
from replay.engine.request import Request
from replay.held_events import HeldEvent, HeldEvents
from replay.pool.arrays import Array
from replay.profile import EngineProfile
from replay.receivers import Receivers, state_of
from replay.recorder import EventRow, RecordingWriter
from replay.timeouts import Outlook


@dataclass(slots=True, eq=False)
class _Sent:
    """An event that rules have touched, from the moment it is sent."""

    number: int
    request: Request
    event: CompletionEvent
    #: Whether its receiver waited for it when it was due, and it was not there.
    was_missed: bool = False
    #: When the original was delivered, -1 before that.
    told_us: int = -1
    #: Rules of which something has landed, and been observed: an event is one fault to a rule.
    landed: set[str] = field(default_factory=set)
    observed: set[str] = field(default_factory=set)


class CompletionChannel:
    """Sends completion events of both directions and records what became of each."""

    def __init__(
        self,
        profile: EngineProfile,
        clock: Clock,
        injector: FaultInjector,
        recorder: RecordingWriter,
        outlook: Outlook,
        wake: Callable[[Request, Direction], None],
    ) -> None:
        self.receivers = Receivers(profile)
        self.held = HeldEvents()
        self._profile = profile
        self._clock = clock
        self._injector = injector
        self._recorder = recorder
        self._outlook = outlook
        self._wake = wake
        self._events_sent = 0
        #: Events that came early, by identity, until they would have been sent.
        self._early: dict[str, _Sent] = {}
        #: Touched deliveries under way, by (number, copy).
        self._under_way: dict[tuple[int, int], tuple[_Sent, Delivery]] = {}
        #: By pool and direction, when the latest event due of those delivered was due.
        self._latest_due_us: dict[tuple[str, Direction], int] = {}
        parties = profile.parties()
        self._parts: dict[Direction, dict[tuple[int, int], int]] = {
            "decode": {pair: part for part, pair in enumerate(parties.completions)},
            "prefill": {(sender, 0): part for part, sender in enumerate(parties.real_senders)},
        }

    @property
    def next_number(self) -> int:
        """The number of the event that is sent next."""
        return self._events_sent

    def take_number(self) -> int:
        """The number of the next event, which is thereby taken."""
        self._events_sent += 1
        return self._events_sent - 1

    # Sending.

    def send(
        self, request: Request, direction: Direction, prefill_tp_rank: int, decode_tp_rank: int
    ) -> bool:
        """Send one event; returns whether it will say that the transfer failed."""
        now_us = self._clock.now_us
        event = self._event(request, direction, prefill_tp_rank, decode_tp_rank, now_us)
        early = self._early.pop(event.identity, None) if self._early else None
        outcome = self._injector.decide(event, early is not None)
        number = self.take_number() if early is None else early.number
        sent = early or _Sent(number, request, event)
        for copy, delivery in enumerate(outcome.deliveries, start=early is not None):
            self._schedule_delivery(sent, copy, delivery)
        if not outcome.is_untouched and early is None:
            self._watch_due(sent, outcome)
        return any(delivery.failed and not delivery.is_copy for delivery in outcome.deliveries)

    def send_early(
        self,
        request: Request,
        direction: Direction,
        prefill_tp_rank: int,
        decode_tp_rank: int,
        lands_us: int,
    ) -> None:
        """Show the injector an event that is sent when its bytes land: it may come before them."""
        event = self._event(request, direction, prefill_tp_rank, decode_tp_rank, lands_us)
        delivery = self._injector.decide_early(event, self._clock.now_us)
        if delivery is None:
            return
        sent = _Sent(self.take_number(), request, event)
        self._early[event.identity] = sent
        row = EventRow(sent.number, 0, event, False, delivery.rules)
        self._recorder.expect(row)
        told = ""
        was_awaited = False

        def arrive() -> None:
            nonlocal told, was_awaited
            was_awaited = self.receivers.awaits(request, event)
            told = self.receivers.tell(request, event, sent.number, False, None)
            sent.told_us = self._clock.now_us
            self._note_landed(sent, delivery.rules)
            self.receivers.have_polled(request, direction)
            self._wake(request, direction)

        def would_be_due() -> None:
            # Early was early if the receiver has looked before the event should have been there.
            observed = was_awaited and self._polled_us(sent) >= sent.told_us
            if observed:
                self._note_observed(sent, delivery.rules)
            self._recorder.delivered(row, sent.told_us, told, observed)

        self._clock.schedule(delivery.at_us, Priority.DELIVERY, arrive)
        self._clock.schedule(event.due_us, Priority.HARNESS, would_be_due)

    def _event(
        self,
        request: Request,
        direction: Direction,
        prefill_tp_rank: int,
        decode_tp_rank: int,
        sent_us: int,
    ) -> CompletionEvent:
        rank = request.decode if direction == "decode" else request.prefill
        parts = self._parts[direction]
        return CompletionEvent(
            request_id=request.request_id,
            direction=direction,
            prefill_tp_rank=prefill_tp_rank,
            decode_tp_rank=decode_tp_rank,
            pool=rank.name,
            dp_rank=rank.dp_rank,
            bootstrap_room=request.room,
            pages=rank.pool.pages_for(request.input_tokens),
            sent_us=sent_us,
            due_us=sent_us + self._profile.completion_latency_us,
            session_id=request.session_id,
            state=state_of(request, direction),
            part=parts[prefill_tp_rank, decode_tp_rank],
            parts=len(parts),
            dp_ranks=self.receivers.dp_ranks(direction),
            next_room=self.receivers.next_room(request.room, direction),
        )

    # Delivering.

    def _schedule_delivery(self, sent: _Sent, copy: int, delivery: Delivery) -> None:
        event = sent.event
        row = EventRow(sent.number, copy, event, delivery.failed, delivery.rules)
        self._recorder.expect(row)
        if delivery.rules:
            self._under_way[sent.number, copy] = sent, delivery
        if not delivery.until:
            self._deliver_at(delivery.at_us, sent, delivery, row)
            return
        pages = self._pages(sent.request, event) if "pages-reused" in delivery.until else None

        def go() -> None:
            at_us = max(delivery.at_us, self._clock.now_us) + delivery.wait_us
            self._deliver_at(at_us, sent, delivery, row)

        self.held.hold(HeldEvent(sent.request, event, delivery.until, pages, go))

    def _deliver_at(self, at_us: int, sent: _Sent, delivery: Delivery, row: EventRow) -> None:
        request, event = sent.request, sent.event
        late = at_us > event.due_us
        if late:
            self._outlook.expect(request)

        def arrive() -> None:
            if late:
                self._outlook.settle(request)
            seen = self._what_was_seen(sent, delivery) if delivery.rules else ()
            told = self.receivers.tell(
                request, event, sent.number, delivery.failed, delivery.detour
            )
            observed = False
            if delivery.rules:
                self._under_way.pop((row.number, row.copy), None)
                self._note_landed(sent, delivery.rules)
                seen = (*seen, *_what_it_did(told, delivery, seen))
                self._note_observed(sent, seen)
                observed = bool(seen)
            if not delivery.is_copy:
                sent.told_us = self._clock.now_us
                key = event.pool, event.direction
                self._latest_due_us[key] = max(self._latest_due_us.get(key, 0), event.due_us)
            self._recorder.delivered(row, self._clock.now_us, told, observed)
            if delivery.rules:
                self.receivers.have_polled(request, event.direction)
            self._wake(request, event.direction)

        self._clock.schedule(at_us, Priority.DELIVERY, arrive, is_work=not late)

    def bytes_landed(self, request: Request) -> None:
        """The last bytes of a request, or a share of them, are here: tell what was kept for them."""
        for direction in self.receivers.bytes_landed(request):
            self._wake(request, direction)

    def _watch_due(self, sent: _Sent, outcome: Outcome) -> None:
        """Have the harness look at the receiver when a lost, late or misrouted event was due."""
        request, event = sent.request, sent.event
        if any(
            delivery.at_us <= event.due_us
            and not (delivery.detour or delivery.until or delivery.is_copy)
            for delivery in outcome.deliveries
        ):
            return
        lost = EventRow(sent.number, 0, event, False, outcome.dropped_by)
        if outcome.dropped_by:
            self._recorder.expect(lost)

        def come_due() -> None:
            sent.was_missed = self.receivers.awaits(request, event)
            if outcome.dropped_by:
                if sent.was_missed:
                    self._note_observed(sent, outcome.dropped_by)
                self._recorder.lost(lost, sent.was_missed)
            self.receivers.come_due(request, event.direction)
            self._wake(request, event.direction)

        self._clock.schedule(event.due_us, Priority.HARNESS, come_due)

    # What difference it made.

    def _what_was_seen(self, sent: _Sent, delivery: Delivery) -> tuple[FaultRule, ...]:
        """The rules whose effect the receiver could see before this delivery reaches it."""
        polled_us, event = self._polled_us(sent), sent.event
        if delivery.is_copy:
            was_told = 0 <= sent.told_us <= polled_us
            return delivery.rules if was_told else ()
        if delivery.detour is not None:
            waits = self.receivers.awaits(sent.request, event)
            return delivery.rules if waits or sent.was_missed else ()
        was_late = sent.was_missed and polled_us >= event.due_us
        was_overtaken = self._latest_due_us.get((event.pool, event.direction), 0) > event.due_us
        return tuple(
            rule
            for rule in delivery.rules
            if (rule.fault in ("delay", "reorder") and was_late)
            or (rule.fault == "reorder" and was_overtaken)
        )

    def _polled_us(self, sent: _Sent) -> int:
        return self.receivers.polled_us(sent.request, sent.event.direction)

    def close(self) -> None:
        """Note what was missed of events that never arrived before the end."""
        for (number, copy), (sent, delivery) in sorted(
            self._under_way.items(), key=lambda item: item[0]
        ):
            if sent.was_missed and not delivery.is_copy:
                self._note_landed(sent, delivery.rules)
                self._note_observed(sent, delivery.rules)
                self._recorder.never_arrived(number, copy, observed=True)
        self._under_way.clear()

    # Helpers.

    def _note_landed(self, sent: _Sent, rules: tuple[FaultRule, ...]) -> None:
        fresh = tuple(rule for rule in rules if rule.name not in sent.landed)
        sent.landed.update(rule.name for rule in fresh)
        self._injector.note_landed(fresh)

    def _note_observed(self, sent: _Sent, rules: tuple[FaultRule, ...]) -> None:
        fresh = tuple(rule for rule in rules if rule.name not in sent.observed)
        sent.observed.update(rule.name for rule in fresh)
        self._injector.note_observed(fresh)

    @staticmethod
    def _pages(request: Request, event: CompletionEvent) -> Array | None:
        """The pages of the request on the receiver's side, int64 [n], if it still has them."""
        if event.direction == "prefill":
            if request.prefill_ended:
                return None
            return request.prefill.memory.prompt_pages(request, 0, event.pages)
        if request.decode_row < 0:
            return None
        pool = request.decode.pool
        return pool.arrays.copy(pool.table.read(request.decode_row, 0, event.pages))


def _what_it_did(
    told: str, delivery: Delivery, seen: tuple[FaultRule, ...]
) -> tuple[FaultRule, ...]:
    """The other rules whose effect is that the receiver did not ignore this delivery."""
    if told.startswith("ignored"):
        return ()
    return tuple(
        rule
        for rule in delivery.rules
        if rule not in seen and (delivery.is_copy or rule.fault in ("fail", "misroute"))
    )
