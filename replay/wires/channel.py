"""Completion events on their way: shown to the fault injector as they are sent, then delivered.

    bytes land --> decode receivers <--completions------- [fault injector]
               --> prefill senders  <--acknowledgements-- [fault injector]

This is the only place where a fault acts on an event; `replay.wires.effects` sees whether that made a
difference.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.events import CompletionEvent, Direction
from faults.injector import Delivery, FaultInjector, Outcome
from replay.pair.clock import Clock, Priority
from replay.pair.request import Request
from replay.pool.arrays import Array
from replay.profiles.profile import EngineProfile
from replay.recording.writer import EventRow, RecordingWriter
from replay.wires.effects import Observations, SentEvent
from replay.wires.event_router import Receivers, state_of
from replay.wires.held_events import HeldEvent, HeldEvents
from replay.wires.timers import Outlook


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
        self.held = HeldEvents(rooms_come_again=bool(profile.bootstrap_rooms))
        self._observations = Observations(injector, recorder, self.receivers)
        self._profile = profile
        self._clock = clock
        self._injector = injector
        self._recorder = recorder
        self._outlook = outlook
        self._wake = wake
        self._events_sent = 0
        #: Events that came early, by identity, until they would have been sent.
        self._early: dict[str, SentEvent] = {}
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
        sent = early or SentEvent(number, request, event)
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
        sent = SentEvent(self.take_number(), request, event)
        self._early[event.identity] = sent
        self._schedule_delivery(sent, 0, delivery)
        waited = self.receivers.awaits(request, event)
        self._observations.await_decision(sent)

        def would_be_due() -> None:
            self._observations.decide(sent, delivery, waited)

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

    def _schedule_delivery(self, sent: SentEvent, copy: int, delivery: Delivery) -> None:
        event = sent.event
        row = EventRow(sent.number, copy, event, delivery.failed, delivery.rules)
        self._recorder.expect(row)
        if delivery.rules:
            self._observations.expect(sent, copy, delivery)
        if not delivery.until:
            self._deliver_at(delivery.at_us, sent, delivery, row)
            return
        pages = self._pages(sent.request, event) if "pages-reused" in delivery.until else None

        def go() -> None:
            at_us = max(delivery.at_us, self._clock.now_us) + delivery.wait_us
            self._deliver_at(at_us, sent, delivery, row)

        self.held.hold(HeldEvent(sent.request, event, delivery.until, pages, go))

    def _deliver_at(self, at_us: int, sent: SentEvent, delivery: Delivery, row: EventRow) -> None:
        request, event = sent.request, sent.event
        late = at_us > event.due_us
        if late:
            self._outlook.expect(request)

        def arrive() -> None:
            if late:
                self._outlook.settle(request)
            seen = self._observations.before(sent, delivery) if delivery.rules else ()
            told = self.receivers.tell(
                request, event, sent.number, delivery.failed, delivery.detour
            )
            self._observations.delivered(sent, delivery, row, self._clock.now_us, told, seen)
            if delivery.rules:
                self.receivers.have_polled(request, event.direction)
            self._wake(request, event.direction)

        self._clock.schedule(at_us, Priority.DELIVERY, arrive, is_work=not late)

    def bytes_landed(self, request: Request) -> None:
        """The last bytes of a request, or a share of them, are here: tell what was kept for them."""
        for direction in self.receivers.bytes_landed(request):
            self._wake(request, direction)

    def _watch_due(self, sent: SentEvent, outcome: Outcome) -> None:
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
                self._observations.lost(sent, lost)
            self.receivers.come_due(request, event.direction)
            self._wake(request, event.direction)

        self._clock.schedule(event.due_us, Priority.HARNESS, come_due)

    def close(self) -> None:
        """Note what was missed of events that never arrived before the end."""
        self._observations.close()

    # Helpers.

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
