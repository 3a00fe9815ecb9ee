"""Completion events on their way: shown to the fault injector as they are sent, then delivered.

    bytes land --> decode receivers <--completions------- [fault injector]
               --> prefill senders  <--acknowledgements-- [fault injector]

This is the only place where a fault acts.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.injector import Delivery, FaultInjector, Outcome
from faults.kinds import CompletionEvent, Direction
from replay.clock import Clock, Priority
from replay.engine.request import Request
from replay.profile import EngineProfile
from replay.recorder import EventRow, RecordingWriter
from replay.timeouts import Outlook


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
        self._profile = profile
        self._clock = clock
        self._injector = injector
        self._recorder = recorder
        self._outlook = outlook
        self._wake = wake
        self._events_sent = 0

    @property
    def next_number(self) -> int:
        """The number of the event that is sent next."""
        return self._events_sent

    def send(
        self, request: Request, direction: Direction, prefill_tp_rank: int, decode_tp_rank: int
    ) -> bool:
        """Send one event; returns whether it will say that the transfer failed."""
        rank = request.decode if direction == "decode" else request.prefill
        event = CompletionEvent(
            request_id=request.request_id,
            direction=direction,
            prefill_tp_rank=prefill_tp_rank,
            decode_tp_rank=decode_tp_rank,
            pool=rank.name,
            dp_rank=rank.dp_rank,
            bootstrap_room=request.room,
            pages=rank.pool.pages_for(request.input_tokens),
            sent_us=self._clock.now_us,
            due_us=self._clock.now_us + self._profile.completion_latency_us,
        )
        number = self._events_sent
        self._events_sent += 1
        outcome = self._injector.decide(event)
        for copy, delivery in enumerate(outcome.deliveries):
            self._schedule_delivery(request, number, event, copy, delivery)
        if not outcome.is_untouched:
            for rule in outcome.dropped_by:
                self._recorder.event(EventRow(number, 0, event, False, (rule,)))
            self._watch_due(request, event, outcome)
        return any(delivery.failed for delivery in outcome.deliveries)

    def _schedule_delivery(
        self, request: Request, number: int, event: CompletionEvent, copy: int, delivery: Delivery
    ) -> None:
        late = delivery.at_us > event.due_us
        row = EventRow(number, copy, event, delivery.failed, delivery.rules)
        self._recorder.expect(row)
        if late:
            self._outlook.expect(request)

        def arrive() -> None:
            if late:
                self._outlook.settle(request)
            if delivery.rules:
                self._injector.note_landed(delivery)
            result = self._deliver(request, number, event, delivery)
            self._recorder.delivered(row, self._clock.now_us, result)
            self._wake(request, event.direction)

        self._clock.schedule(delivery.at_us, Priority.DELIVERY, arrive, is_work=not late)

    def _deliver(
        self, request: Request, number: int, event: CompletionEvent, delivery: Delivery
    ) -> str:
        if event.direction == "decode":
            if delivery.misrouted:
                return "ignored: nothing is sent from here"
            return request.decode.transfers.complete(
                request, event.prefill_tp_rank, event.decode_tp_rank, number, delivery.failed
            )
        if delivery.misrouted:
            return request.prefill.inflight.receive_misrouted(request, number)
        return request.prefill.inflight.acknowledge(
            request, event.prefill_tp_rank, number, delivery.failed
        )

    def _watch_due(self, request: Request, event: CompletionEvent, outcome: Outcome) -> None:
        """Have the harness look at the receiver when a lost, late or misrouted event was due."""
        if any(
            delivery.at_us <= event.due_us and not delivery.misrouted
            for delivery in outcome.deliveries
        ):
            return

        def come_due() -> None:
            if event.direction == "decode":
                request.decode.transfers.come_due(request)
            else:
                request.prefill.inflight.come_due(request)
            self._wake(request, event.direction)

        self._clock.schedule(event.due_us, Priority.HARNESS, come_due)
