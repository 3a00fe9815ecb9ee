"""The wires between the two sides: control messages, and the bytes themselves.

One transfer, seen from the link (times are virtual; every arrow but the copy is an event):

    decode has pages --metadata--> prefill ... chunk computed --> bytes move --> bytes land (copy)
                                           ... last chunk     --> bytes move --> bytes land (copy)
                                                                                     |
                                              completions and acknowledgements <-----+
    decode gives up --notice--> prefill stops ... nobody writes any more --word--> decode releases

The destination pages are those that decode named in its metadata, whoever owns them when the bytes
land: that is how a page released too early is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from faults.injector import FaultInjector
from replay.pair.clock import Clock, Priority
from replay.pair.deployment import Deployment
from replay.pair.request import DecodeState, PrefillState, Rank, Request, TransferState
from replay.pool.arrays import Array
from replay.profiles.parties import TransferParties
from replay.profiles.profile import EngineProfile
from replay.recording.owner_codes import FIRST_OWNER
from replay.recording.writer import RecordingWriter
from replay.watch.base import Observer
from replay.watch.requests import PendingWork
from replay.wires.channel import CompletionChannel
from replay.wires.timeouts import TransferTimeouts

#: Where the number of an event stands, and there is none.
NO_EVENT = -1


@dataclass(slots=True)
class _Wire:
    """Where one transfer's bytes go, as decode told prefill; kept until the last have landed."""

    pages: Array
    metadata_slot: int
    tag: int
    writer: int
    #: When the chunk that was submitted last will have landed.
    busy_until_us: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Prompt pages in motion, from position `start` of the prompt on; one transfer's last, or not."""

    request: Request
    wire: _Wire | None
    start: int
    pages: Array
    is_last: bool
    #: How many shares it lands in: one, or one for each pair of TP ranks.
    shares: int


class TransferLink(Observer):
    """Carries metadata, bytes and notices; implements `replay.pair.ports.Link`.

    It watches the pair for events that faults hold back until something has happened to their request.
    """

    def __init__(
        self,
        profile: EngineProfile,
        clock: Clock,
        injector: FaultInjector,
        recorder: RecordingWriter,
        pending: PendingWork,
        observer: Observer,
    ) -> None:
        #: Transfers whose bytes landed after decode had let go of their pages: writer -> (request,
        #: number of the first event sent for it, `NO_EVENT` when none is).
        self.strays: dict[int, tuple[str, int]] = {}
        self._profile = profile
        self._clock = clock
        self._parties: TransferParties = profile.parties()
        self._pair: Deployment
        self._wires: dict[int, _Wire] = {}
        self._observer = observer
        self._looks_ahead = injector.looks_ahead
        self.completions = CompletionChannel(profile, clock, injector, recorder, pending)
        self.timeouts = TransferTimeouts(profile, clock, pending, observer)

    # What it watches for.

    def begin(self, pair: Deployment) -> None:
        """Know whom to wake."""
        self._pair = pair
        self.completions.connect(pair)
        self.timeouts.connect(pair)

    def accounting_changed(self, rank: Rank, iterations: int) -> None:
        """Let go of events that need be held no longer."""
        self.completions.accounting_changed(rank.name)

    def phase_began(self, phase: str) -> None:
        """Let go of events that are held until faults end."""
        if phase == "heal":
            self.completions.begin_healing()

    def replay_ended(self) -> None:
        """Have the events written that never arrived."""
        self.timeouts.forget_those_done()
        self.completions.effects.close()

    # What the schedulers ask for.

    def send_metadata(self, request: Request) -> None:
        """Tell prefill where the bytes go, and start waiting for them."""
        pool = request.decode.pool
        count = pool.pages_for(request.input_tokens)
        pages = pool.arrays.copy(pool.table.read(request.decode_row, 0, count))
        self._wires[request.ordinal] = _Wire(
            pages, request.metadata_slot, request.tag, request.writer
        )
        request.awaiting_acknowledgements = set(self._parties.real_senders)

        def arrive() -> None:
            request.prefill.metadata_arrived(request)
            self._pair.wake(request.prefill)

        self._later(arrive)
        self.timeouts.awaits_bytes(request)

    def offer(self, request: Request) -> None:
        """Tell decode that the prompt is computed and can be pulled."""

        def arrive() -> None:
            if request.decode_state is DecodeState.ABSENT:
                request.decode.arrive(request)
                self._pair.wake(request.decode)
            else:
                self.never_asked_for(request)

        self._later(arrive)

    def notify_prefill(self, request: Request) -> None:
        """Tell prefill that decode has given the request up."""

        def arrive() -> None:
            request.prefill.peer_gave_up(request)
            self._pair.wake(request.prefill)

        self._later(arrive)

    def notify_decode(self, request: Request) -> None:
        """Tell decode that prefill has dropped the request and nobody writes any more."""

        def arrive() -> None:
            if self._profile.prefill_tells_decode:
                request.decode.fail(request)
            if self._profile.prefill_tells_decode or request.peer_gave_up:
                request.decode.writer_stopped(request)
            else:
                # Nobody says so; but from now on the request waits for something that cannot come.
                request.decode.transfers.check_overdue(request)
            self._pair.wake(request.decode)

        self._wires.pop(request.ordinal, None)
        if not request.decode_ended:
            self._later(arrive)

    def never_asked_for(self, request: Request) -> None:
        """Have the harness look at prefill when a notice, had there been one, was due."""

        def check_overdue() -> None:
            request.prefill.inflight.check_overdue(request)
            self._pair.wake(request.prefill)

        if request.prefill_state is PrefillState.INFLIGHT:
            due_us = self._clock.now_us + self._profile.control_latency_us
            self._clock.schedule(due_us, Priority.HARNESS, check_overdue)

    # The bytes.

    def send_chunk(self, request: Request, start: int, pages: Array, is_last: bool) -> None:
        """Set prompt pages in motion; chunks of one request land one after the other."""
        now_us, profile = self._clock.now_us, self._profile
        wire = self._wires.get(request.ordinal)
        if request.transfer_state is TransferState.NOT_STARTED:
            request.transfer_state = TransferState.MOVING
            request.transfer_start_us = now_us
            self._observer.state_entered(request, "moving")
        begin_us = now_us if wire is None else max(now_us, wire.busy_until_us)
        land_us = begin_us + profile.transfer_us + profile.transfer_us_per_page * len(pages)
        if wire is not None:
            wire.busy_until_us = land_us
        shares = len(self._parties.completions) if profile.transfer_skew_us else 1
        request.chunks_moving += 1
        chunk = _Chunk(request, wire, start, pages, is_last, shares)
        for share in range(shares):
            at_us = land_us + share * profile.transfer_skew_us
            self._clock.schedule(at_us, Priority.DELIVERY, partial(self._land, chunk, share))
        if is_last and profile.completion_sent == "submitted":
            self._send_completions(request, 0, 1)
        if is_last and self._looks_ahead:
            self._announce(request, land_us, shares)

    def _land(self, chunk: _Chunk, share: int) -> None:
        """The bytes of a chunk, or a pair of TP ranks' share of them, arrive."""
        request = chunk.request
        self._note_landing(chunk, share)
        has_failed = chunk.is_last and self._send_events(chunk, share)
        if not has_failed:
            self._copy(chunk, share)
        if not request.chunks_moving and request.prefill.chunks_landed(request):
            self._pair.wake(request.prefill)

    def _note_landing(self, chunk: _Chunk, share: int) -> None:
        """Keep the books of one share's landing."""
        request, is_end = chunk.request, share == chunk.shares - 1
        if is_end:
            request.chunks_moving -= 1
        if chunk.is_last:
            request.shares_landed += 1
        if chunk.is_last and is_end:
            request.transfer_state = TransferState.LANDED
            request.landed_us = self._clock.now_us
            self._observer.state_entered(request, "landed")
            self._wires.pop(request.ordinal, None)
        if chunk.wire is not None and request.decode_state is not DecodeState.TRANSFER:
            number = self.completions.events.next_number if chunk.is_last else NO_EVENT
            self.strays[chunk.wire.writer] = (request.request_id, number)

    def _send_events(self, chunk: _Chunk, share: int) -> bool:
        """Send what a share of the last bytes brings about; whether any says that it failed."""
        request, has_failed = chunk.request, False
        self.completions.bytes_landed(request)
        if self._profile.completion_sent == "landed":
            has_failed = self._send_completions(request, share, chunk.shares)
        if share == chunk.shares - 1:
            self._send_acknowledgements(request)
        return has_failed

    def _copy(self, chunk: _Chunk, share: int) -> None:
        """Write one share of a chunk where decode has asked for it."""
        request, wire, pages = chunk.request, chunk.wire, chunk.pages
        if wire is None:
            return
        decode, source = request.decode, request.prefill.pool
        target = wire.pages[chunk.start : chunk.start + len(pages)]
        if share == chunk.shares - 1:
            _note_access(request, target, pages)
        decode.pool.storage.receive(
            target, source.storage, pages, wire.tag, wire.writer, (share, chunk.shares)
        )
        # Each TP rank has a first-token buffer of its own; the first to be written stands for them.
        is_first_token = chunk.is_last and share == 0
        if is_first_token and decode.transfers.metadata_landed(
            request, wire.metadata_slot, wire.writer
        ):
            self._pair.wake(decode)

    def _send_completions(self, request: Request, part: int, parts: int) -> bool:
        """Tell decode what one share of the pairs has done; returns whether any failed."""
        has_failed = False
        for prefill_tp_rank, decode_tp_rank in self._parties.completions[part::parts]:
            has_failed |= self.completions.send(request, "decode", prefill_tp_rank, decode_tp_rank)
        is_watched = self._profile.expected_senders == "all" and self._parties.dummy_senders
        if is_watched and part == parts - 1:
            self._watch_dummies(request)
        return has_failed

    def _send_acknowledgements(self, request: Request) -> None:
        """Tell every real sender that its bytes were taken."""
        for prefill_tp_rank in self._parties.real_senders:
            self.completions.send(request, "prefill", prefill_tp_rank, 0)

    def _announce(self, request: Request, land_us: int, shares: int) -> None:
        """Show the injector the events that will be sent when these last bytes land."""
        skew_us = self._profile.transfer_skew_us
        if self._profile.completion_sent == "landed":
            for place, (sender, receiver) in enumerate(self._parties.completions):
                at_us = land_us + place % shares * skew_us
                self.completions.send_early(request, "decode", sender, receiver, at_us)
        for sender in self._parties.real_senders:
            at_us = land_us + (shares - 1) * skew_us
            self.completions.send_early(request, "prefill", sender, 0, at_us)

    def _watch_dummies(self, request: Request) -> None:
        """Have the harness look when the last completion was due, though more are waited for."""

        def check_overdue() -> None:
            request.decode.transfers.check_overdue(request)
            self._pair.wake(request.decode)

        due_us = self._clock.now_us + self._profile.completion_latency_us
        self._clock.schedule(due_us, Priority.HARNESS, check_overdue)

    # Helpers.

    def _later(self, action: Callable[[], None]) -> None:
        at_us = self._clock.now_us + self._profile.control_latency_us
        self._clock.schedule(at_us, Priority.DELIVERY, action)


def _note_access(request: Request, target: Array, source: Array) -> None:
    """Let the ledgers see pages that a transfer touches when they may not be its request's.

    While both schedulers still have the request in a queue that holds its pages they are, and each
    acquisition has been checked; of what decode has given up, nobody cares where the bytes are from.
    """
    owner = request.ordinal + FIRST_OWNER
    if request.decode_state not in _HOLDS_DECODE_PAGES:
        request.decode.pool.ledger.note_write(target, owner)
    elif (
        request.decode_state is not DecodeState.DEFERRED
        and request.prefill_state not in _HOLDS_PREFILL_PAGES
    ):
        request.prefill.pool.ledger.note_read(source, owner)


_HOLDS_DECODE_PAGES = (DecodeState.TRANSFER, DecodeState.DEFERRED)
_HOLDS_PREFILL_PAGES = (PrefillState.RUNNING, PrefillState.INFLIGHT)
