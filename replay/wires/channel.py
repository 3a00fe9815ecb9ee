"""Completion events on their way: shown to the fault injector as they are sent, then delivered.

    bytes land --> decode receivers <--completions------- [fault injector]
               --> prefill senders  <--acknowledgements-- [fault injector]

This is the only place where a fault acts on an event; `replay.wires.effects` sees whether that made a
difference.
"""

from __future__ import annotations

from faults.events import CompletionEvent, Direction
from faults.injector import Delivery, FaultInjector, Outcome
from replay.pair.clock import Clock, Priority
from replay.pair.deployment import Deployment
from replay.pair.request import Request
from replay.pool.arrays import Array
from replay.profiles.profile import EngineProfile
from replay.profiles.routing import decode_places, prefill_places
from replay.recording.writer import RecordingWriter
from replay.watch.requests import PendingWork
from replay.wires.effects import FaultEffects
from replay.wires.event_router import EventRouter
from replay.wires.held_events import HeldEvents
from replay.wires.in_flight import EventCopy, EventTable, InFlight


class CompletionChannel:
    """Sends completion events of both directions."""

    def __init__(
        self,
        profile: EngineProfile,
        clock: Clock,
        injector: FaultInjector,
        recorder: RecordingWriter,
        pending: PendingWork,
    ) -> None:
        self.events = EventTable(recorder)
        self.router = EventRouter(profile)
        self.effects = FaultEffects(self.events, self.router)
        self._held = HeldEvents(rooms_come_again=bool(profile.bootstrap_rooms))
        self._profile = profile
        self._clock = clock
        self._injector = injector
        self._pending = pending
        self._pair: Deployment
        #: Events that came early, by identity, until they would have been sent.
        self._early: dict[str, InFlight] = {}
        parties = profile.parties()
        self._parts: dict[Direction, dict[tuple[int, int], int]] = {
            "decode": {pair: part for part, pair in enumerate(parties.completions)},
            "prefill": {(sender, 0): part for part, sender in enumerate(parties.real_senders)},
        }
        self._dp_ranks = {"decode": profile.decode_dp, "prefill": profile.prefill_dp}
        #: How far apart the rooms are that one receiver serves.
        self._places = {"decode": decode_places(profile), "prefill": prefill_places(profile)}

    def connect(self, pair: Deployment) -> None:
        """Know whom events are for."""
        self._pair = pair
        self.router.connect(pair)

    # Sending.

    def send(
        self, request: Request, direction: Direction, prefill_tp_rank: int, decode_tp_rank: int
    ) -> bool:
        """Send one event; returns whether it will say that the transfer failed."""
        now_us = self._clock.now_us
        event = self._event(request, direction, prefill_tp_rank, decode_tp_rank, now_us)
        early = self._early.pop(event.identity, None) if self._early else None
        outcome = self._injector.decide(event, early is not None)
        sent = early or self.events.number(request, event)
        for delivery in outcome.deliveries:
            self._send_off(sent, delivery)
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
        sent = self._early[event.identity] = self.events.number(request, event)
        copy = self._send_off(sent, delivery)
        copy.is_early = True
        was_awaited = self.router.awaits(request, event)

        def would_be_due() -> None:
            self.effects.early_is_due(copy, was_awaited)

        self._clock.schedule(event.due_us, Priority.HARNESS, would_be_due)

    def _event(
        self,
        request: Request,
        direction: Direction,
        prefill_tp_rank: int,
        decode_tp_rank: int,
        sent_us: int,
    ) -> CompletionEvent:
        rank = request.rank_on(direction)
        parts, rooms = self._parts[direction], self._profile.bootstrap_rooms
        next_room = request.room + self._places[direction]
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
            state=request.state_on(direction),
            part=parts[prefill_tp_rank, decode_tp_rank],
            parts=len(parts),
            dp_ranks=self._dp_ranks[direction],
            next_room=next_room % rooms if rooms else next_room,
        )

    # Delivering.

    def _send_off(self, sent: InFlight, delivery: Delivery) -> EventCopy:
        copy = self.events.send_off(sent, delivery)
        if not delivery.until:
            self._deliver_at(delivery.at_us, copy)
            return copy
        if "pages-reused" in delivery.until:
            copy.pages = _pages(sent)
        if not self._held.hold(copy):
            self._release([copy])
        return copy

    def _release(self, held: list[EventCopy]) -> None:
        """Let deliveries go on that were held back."""
        for copy in held:
            at_us = max(copy.delivery.at_us, self._clock.now_us)
            self._deliver_at(at_us + copy.delivery.wait_us, copy)

    def _deliver_at(self, at_us: int, copy: EventCopy) -> None:
        request, event, delivery = copy.of.request, copy.of.event, copy.delivery
        late = at_us > event.due_us
        if late:
            self._pending.expect(request)

        def arrive() -> None:
            if late:
                self._pending.settle(request)
            seen = self.effects.seen_before(copy) if delivery.rules else ()
            told = self.router.tell(copy.of, delivery)
            self.effects.delivered(copy, self._clock.now_us, told, seen)
            if delivery.rules:
                self.router.force_poll(request, event.direction)
            self._pair.wake(request.rank_on(event.direction))

        self._clock.schedule(at_us, Priority.DELIVERY, arrive, is_work=not late)

    def bytes_landed(self, request: Request) -> None:
        """The last bytes of a request, or a share of them, are here: tell what was kept for them."""
        for direction in self.router.bytes_landed(request):
            self._pair.wake(request.rank_on(direction))

    def accounting_changed(self, pool: str) -> None:
        """Let go of what was held back until now, as this pool's accounting has changed."""
        self._release(self._held.take_due(pool))

    def begin_healing(self) -> None:
        """The inject phase is over."""
        self._release(self._held.begin_healing())

    def _watch_due(self, sent: InFlight, outcome: Outcome) -> None:
        """Have the harness look at the receiver when a lost, late or misrouted event was due."""
        request, event = sent.request, sent.event
        if any(
            delivery.at_us <= event.due_us
            and not (delivery.detour or delivery.until or delivery.is_copy)
            for delivery in outcome.deliveries
        ):
            return
        lost = None
        if outcome.dropped_by:
            self.effects.note_landed(sent, outcome.dropped_by)
            never = Delivery(event.due_us, False, outcome.dropped_by)
            lost = self.events.send_off(sent, never)

        def check_overdue() -> None:
            sent.was_missed = self.router.awaits(request, event)
            if lost is not None:
                self.effects.lost_is_due(lost)
            self.router.check_overdue(request, event.direction)
            self._pair.wake(request.rank_on(event.direction))

        self._clock.schedule(event.due_us, Priority.HARNESS, check_overdue)


def _pages(sent: InFlight) -> Array | None:
    """The pages of the request on the receiver's side, int64 [n], if it still has them."""
    request, event = sent.request, sent.event
    if event.direction == "prefill":
        if request.prefill_ended:
            return None
        return request.prefill.prompt_pages(request, 0, event.pages)
    if request.decode_row < 0:
        return None
    pool = request.decode.pool
    return pool.arrays.copy(pool.table.read(request.decode_row, 0, event.pages))
