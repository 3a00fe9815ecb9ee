"""The wires between the two sides: control messages, the bytes themselves, and completion events.

One transfer, seen from the link (times are virtual; every arrow but the copy is an event):

    decode has pages --metadata--> prefill ... prompt computed --> bytes move --> bytes land (copy)
                                                                                     |
                   decode receivers <--completion events-- [fault injector] <--------+
                   prefill senders  <--acknowledgements--- [fault injector] <--------+

The destination pages are those that decode named in its metadata, whoever owns them when the bytes
land: that is how a page released too early is overwritten.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from faults.injector import Delivery, FaultInjector, Outcome
from faults.kinds import CompletionEvent, Direction
from replay.clock import Clock, Priority, Timer
from replay.engine.decode import DecodeInstance
from replay.engine.prefill import PrefillInstance
from replay.engine.request import (
    DecodeState,
    PrefillState,
    Request,
    TransferState,
)
from replay.parallel import TransferParties
from replay.pool.arrays import Array
from replay.profile import EngineProfile
from replay.recorder import EventRow, RecordingWriter


class TransferLink:
    """Carries metadata, bytes and completion events; implements `replay.engine.ports.Link`."""

    def __init__(
        self,
        profile: EngineProfile,
        clock: Clock,
        injector: FaultInjector,
        recorder: RecordingWriter,
    ) -> None:
        self._profile = profile
        self._clock = clock
        self._injector = injector
        self._recorder = recorder
        self._parties: TransferParties = profile.parties()
        self._prefills: list[PrefillInstance] = []
        self._decodes: list[DecodeInstance] = []
        self._destinations: dict[int, Array] = {}
        self._events_sent = 0
        #: Requests whose bytes have not moved, with the time at which that is too long; in order,
        #: since the timeout is the same for all.
        self._waiting: deque[tuple[int, Request]] = deque()
        self._waiting_timer: Timer | None = None
        #: Deliveries and timers under way that could still move a request on, by ordinal.
        self.outlook: Counter[int] = Counter()

    def connect(self, prefills: list[PrefillInstance], decodes: list[DecodeInstance]) -> None:
        """Know the instances to wake."""
        self._prefills, self._decodes = prefills, decodes

    # What the schedulers ask for.

    def send_metadata(self, request: Request) -> None:
        """Tell prefill where the bytes go, and start waiting for them."""
        count = request.decode.pool.pages_for(request.input_tokens)
        pages = request.decode.pool.table.read(request.decode_row, 0, count)
        self._destinations[request.ordinal] = request.decode.pool.arrays.copy(pages)
        request.awaiting_completions = set(self._parties.completions)
        request.awaiting_acknowledgements = set(self._parties.real_senders)

        def arrive() -> None:
            request.prefill.metadata_arrived(request)
            self._wake_prefill(request)

        self._later(self._profile.control_latency_us, arrive)
        if self._profile.waiting_timeout_us is not None:
            self._watch_waiting(request, self._profile.waiting_timeout_us)

    def start_transfer(self, request: Request) -> None:
        """Set the bytes in motion; they land when the whole prompt has been copied."""
        request.transfer_state = TransferState.MOVING
        request.transfer_start_us = self._clock.now_us
        source = request.prefill.pool.table.read(
            request.prefill_row, 0, request.prefill.pool.pages_for(request.input_tokens)
        )
        source = request.prefill.pool.arrays.copy(source)
        duration = self._profile.transfer_us + self._profile.transfer_us_per_page * len(source)
        self._later(duration, lambda: self._land(request, source))

    def notify_prefill(self, request: Request) -> None:
        """Tell prefill that decode has given the request up."""
        if request.prefill_ended:
            return

        def arrive() -> None:
            request.prefill.abort(request)
            self._wake_prefill(request)

        self._later(self._profile.control_latency_us, arrive)

    def notify_decode(self, request: Request) -> None:
        """Tell decode that prefill has dropped the request, if this engine does."""

        def arrive() -> None:
            if self._profile.peer_is_notified:
                request.decode.fail(request)
            else:
                request.decode.come_due(request)
            request.decode.writer_quiet(request)
            self._wake_decode(request)

        self._destinations.pop(request.ordinal, None)
        self._later(self._profile.control_latency_us, arrive)

    def overdue(self, request: Request, side: str) -> None:
        """Start the timeout, if this engine has one, of a completion that did not come."""
        if side == "decode" and self._profile.completion_timeout_us is not None:
            self._arm(request, self._profile.completion_timeout_us, self._completion_timed_out)
        if side == "prefill" and self._profile.acknowledgement_timeout_us is not None:
            timeout_us = self._profile.acknowledgement_timeout_us
            self._arm(request, timeout_us, self._acknowledgement_timed_out)

    # The bytes.

    def _land(self, request: Request, source: Array) -> None:
        request.transfer_state = TransferState.LANDED
        request.landed_us = self._clock.now_us
        destination = self._destinations.pop(request.ordinal, None)
        if destination is not None:
            request.decode.pool.storage.receive(
                destination,
                request.prefill.pool.storage,
                source,
                request.tag,
            )
        request.decode.writer_quiet(request)
        if request.decode_state is DecodeState.DEFERRED:
            self._wake_decode(request)
        for prefill_tp_rank, decode_tp_rank in self._parties.completions:
            self._send(request, "decode", prefill_tp_rank, decode_tp_rank)
        for prefill_tp_rank in self._parties.real_senders:
            self._send(request, "prefill", prefill_tp_rank, 0)

    # Completion events.

    def _send(
        self, request: Request, direction: Direction, prefill_tp_rank: int, decode_tp_rank: int
    ) -> None:
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
        for rule in outcome.dropped_by:
            self._recorder.event(EventRow(number, 0, event, False, (rule,)))
        for copy, delivery in enumerate(outcome.deliveries):
            self._schedule_delivery(request, number, event, copy, delivery)
        self._watch_due(request, event, outcome)

    def _schedule_delivery(
        self, request: Request, number: int, event: CompletionEvent, copy: int, delivery: Delivery
    ) -> None:
        late = delivery.at_us > event.due_us
        row = EventRow(number, copy, event, delivery.failed, delivery.rules)
        self._recorder.expect(row)
        if late:
            self.outlook[request.ordinal] += 1

        def arrive() -> None:
            if late:
                self._settle(request)
            if delivery.rules:
                self._injector.note_landed(delivery)
            result = self._deliver(request, event, delivery.failed)
            self._recorder.delivered(row, self._clock.now_us, result)

        self._clock.schedule(delivery.at_us, Priority.DELIVERY, arrive, is_work=not late)

    def _deliver(self, request: Request, event: CompletionEvent, failed: bool) -> str:
        if event.direction == "decode":
            result = request.decode.complete(
                request, event.prefill_tp_rank, event.decode_tp_rank, failed
            )
            self._wake_decode(request)
        else:
            result = request.prefill.acknowledge(request, event.prefill_tp_rank, failed)
            self._wake_prefill(request)
        return result

    def _watch_due(self, request: Request, event: CompletionEvent, outcome: Outcome) -> None:
        """Have the harness look at the receiver when a lost or late event was due."""
        if any(delivery.at_us <= event.due_us for delivery in outcome.deliveries):
            return

        def come_due() -> None:
            if event.direction == "decode":
                request.decode.come_due(request)
                self._wake_decode(request)
            else:
                request.prefill.come_due(request)
                self._wake_prefill(request)

        self._clock.schedule(event.due_us, Priority.HARNESS, come_due)

    # Timeouts.

    def _arm(self, request: Request, after_us: int, fire: Callable[[Request], None]) -> None:
        self.outlook[request.ordinal] += 1

        def expire() -> None:
            self._settle(request)
            fire(request)

        self._clock.schedule(self._clock.now_us + after_us, Priority.HARNESS, expire, is_work=False)

    def _watch_waiting(self, request: Request, timeout_us: int) -> None:
        self.outlook[request.ordinal] += 1
        self._waiting.append((self._clock.now_us + timeout_us, request))
        if self._waiting_timer is None:
            self._await_first_timeout()

    def _await_first_timeout(self) -> None:
        """Set the timer for the first request that still waits; the others need none."""
        self._waiting_timer = None
        while self._waiting:
            at_us, request = self._waiting[0]
            if _awaits_bytes(request):
                self._waiting_timer = self._clock.schedule(
                    at_us, Priority.HARNESS, self._waiting_timed_out, is_work=False
                )
                return
            self._waiting.popleft()
            self._settle(request)

    def _waiting_timed_out(self) -> None:
        """The first in the queue has waited too long, unless it does not wait any more."""
        _, request = self._waiting.popleft()
        self._settle(request)
        if _awaits_bytes(request):
            timeout_us = self._profile.waiting_timeout_us
            has_sender = request.prefill_state is not PrefillState.DROPPED
            if self._profile.timeout_asks_sender and has_sender and timeout_us is not None:
                self._watch_waiting(request, timeout_us)
            else:
                request.decode.fail(request)
                self._wake_decode(request)
        self._await_first_timeout()

    def _completion_timed_out(self, request: Request) -> None:
        request.decode.fail(request)
        self._wake_decode(request)

    def _acknowledgement_timed_out(self, request: Request) -> None:
        request.prefill.give_up(request)
        self._wake_prefill(request)

    # Helpers.

    def _settle(self, request: Request) -> None:
        self.outlook[request.ordinal] -= 1
        if self.outlook[request.ordinal] == 0:
            del self.outlook[request.ordinal]

    def _later(self, latency_us: int, action: Callable[[], None]) -> None:
        self._clock.schedule(self._clock.now_us + latency_us, Priority.DELIVERY, action)

    def _wake_prefill(self, request: Request) -> None:
        self._prefills[request.prefill.instance].wake()

    def _wake_decode(self, request: Request) -> None:
        self._decodes[request.decode.instance].wake()


def _awaits_bytes(request: Request) -> bool:
    """Whether decode holds pages for a request whose bytes have not begun to move."""
    return (
        request.decode_state is DecodeState.TRANSFER
        and request.transfer_state is TransferState.NOT_STARTED
    )
