"""One replay: builds the pair, feeds it a trace under a fault plan, and records what it sees.

inject    the trace arrives and faults act, until nothing healthy is left to happen
heal      no faults; what is late arrives and what times out does, within a budget
repeat-n  the same trace again without faults, to see whether what is left grows
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from faults.events import RequestState
from faults.injector import FaultInjector, FaultJournal
from faults.rule import FaultPlan
from replay.pair.clock import Clock, Priority
from replay.pair.request import PrefillState, Request
from replay.pool.arrays import Arrays
from replay.pool.foreign_allocator import AllocatorFactory
from replay.profiles.profile import EngineProfile
from replay.profiles.routing import room_of
from replay.recording.kinds import LedgerViolations
from replay.recording.writer import RecordingWriter
from replay.run.deployment import Deployment, build_deployment
from replay.watch.audit import Auditor, Rank
from replay.watch.contents import ContentOracle
from replay.wires.aimed_faults import AimedFaults
from replay.wires.link import TransferLink
from traces.schema import TraceRequest


class TraceSource(Protocol):
    """A trace that can be read from the start any number of times."""

    @property
    def block_size(self) -> int | None:
        """Tokens of one prompt block, or None when the trace has no block hashes."""

    def iter_requests(self) -> Iterator[TraceRequest]:
        """Its requests in order of arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What a replay is told beside the trace, the profile and the plan."""

    seed: int = 0
    repeats: int = 0
    heal_budget_us: int = 600_000_000
    every_step: bool = False
    stop_on_engine_error: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a replay, in virtual time."""

    phase: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What a replay knows at its end beside its tables."""

    phases: tuple[Phase, ...]
    requests: int
    budget_exhausted: bool
    stopped_early: bool
    #: Whether something was still under way, such as a timer, when the replay ended.
    pending_at_end: bool


#: Requests between two progress reports.
_PROGRESS_EVERY = 256


class Session:
    """A replay under way; implements `replay.pair.ports.Watcher`."""

    def __init__(
        self,
        trace: TraceSource,
        profile: EngineProfile,
        plan: FaultPlan,
        options: SessionOptions,
        recorder: RecordingWriter,
        arrays: Arrays,
        progress: Callable[[int], None] | None = None,
        make_allocator: AllocatorFactory | None = None,
    ) -> None:
        self.clock = Clock()
        self.injector = FaultInjector(plan, options.seed)
        self.auditor = Auditor(self.clock, recorder, profile, self._find)
        self._trace = trace
        self._profile = profile
        self._options = options
        self._recorder = recorder
        self._progress = progress
        self._link = TransferLink(
            profile, self.clock, self.injector, recorder, self.entered, self.timed_out
        )
        self._aimed_faults = AimedFaults(self.clock, self.injector, self._link, self._cancel)
        self.contents = ContentOracle(recorder, arrays, self._link.strays)
        self._pair: Deployment = build_deployment(
            profile,
            trace.block_size,
            self.clock,
            self._link,
            self,
            arrays,
            options.every_step,
            make_allocator,
        )
        self._link.connect(self._pair.prefills, self._pair.decodes)
        for rank in self._pair.ranks():
            self.auditor.watch(rank)
        self._requests: dict[int, Request] = {}
        #: Ended requests that an audit may still have to name.
        self._lingering: list[Request] = []
        self._ordinal = 0
        self._phases: list[Phase] = []
        self._stop = False

    @property
    def pool_names(self) -> list[tuple[str, int]]:
        """Every pool's name and its total tokens."""
        return [
            (rank.name, rank.pool.total_pages * rank.pool.page_size) for rank in self._pair.ranks()
        ]

    def fault_journal(self) -> FaultJournal:
        """What every rule did."""
        return self._link.completions.effects.journal(self.injector.journal)

    def ledger_violations(self) -> LedgerViolations:
        """Pages that changed hands as in no correct engine, over all pools."""
        found = [rank.pool.ledger.violations() for rank in self._pair.ranks()]
        slots = sum(
            rank.memory.metadata_slots.written_by_another
            for decode in self._pair.decodes
            for rank in decode.ranks
        )
        return sum(found[1:], start=dataclasses.replace(found[0], slots_written_by_another=slots))

    def free_pools(self) -> None:
        """Give the pools' memory back at once: schedulers and link refer to each other in circles,
        which a later collection may find or not.
        """
        for rank in self._pair.ranks():
            rank.pool.free_arrays()

    def run(self) -> SessionResult:
        """Replay the trace through all phases."""
        start = self.clock.now_us
        self.auditor.audit_all()
        self._feed(self._trace.iter_requests(), cycle=0, shift_us=0)
        self._run_until_quiet()
        self._end_phase("inject", start)

        start, self.auditor.phase = self.clock.now_us, "heal"
        self.injector.disarm()
        self._link.completions.begin_healing()
        deadline = start + self._options.heal_budget_us
        while not self._stop and self._is_anything_left() and self.clock.run_next(deadline):
            pass
        budget_exhausted = self._is_anything_left() and not self._stop
        if not budget_exhausted:
            self._stall_the_rest()
        self._end_phase("heal", start)

        for cycle in range(1, self._options.repeats + 1):
            if self._stop:
                break
            start = self.clock.now_us
            self.auditor.phase = f"repeat-{cycle}"
            self._feed(self._trace.iter_requests(), cycle, shift_us=start)
            self._run_until_quiet()
            self._end_phase(self.auditor.phase, start)
        pending_at_end = self._is_anything_left()
        self._close()
        return SessionResult(
            tuple(self._phases), self._ordinal, budget_exhausted, self._stop, pending_at_end
        )

    # Phases.

    def _is_anything_left(self) -> bool:
        """Whether something under way could still change anything; a timer nobody needs cannot."""
        if self.clock.pending_work:
            return True
        self._link.timeouts.forget_those_done()
        # A late copy for a request that has ended counts as well: it may free its pages again.
        return self._link.pending.is_anything_pending

    def _run_until_quiet(self) -> None:
        """Run until no healthy work is left; what is late or timed may still come."""
        while self.clock.pending_work and not self._stop:
            self.clock.run_next()

    def _stall_the_rest(self) -> None:
        """Nothing is left to happen, so whoever still waits for a transfer waits for ever."""
        for request in list(self._requests.values()):
            request.decode.transfers.stall(request)
            request.prefill.inflight.stall(request)

    def _end_phase(self, phase: str, start_us: int) -> None:
        self.contents.flush()
        self.auditor.audit_all(page_exact=True)
        self._phases.append(Phase(phase, start_us, self.clock.now_us))

    def _close(self) -> None:
        self._link.timeouts.forget_those_done()
        self._link.completions.effects.close()
        self.auditor.close(self._can_progress)
        for request in list(self._requests.values()):
            if not (request.decode_ended and request.prefill_ended):
                self._write_request(request)
        self._recorder.close()

    # Arrivals.

    def _feed(self, requests: Iterable[TraceRequest], cycle: int, shift_us: int) -> None:
        """Schedule the first arrival; each arrival schedules the next."""
        rows = iter(requests)

        def schedule_next() -> None:
            row = next(rows, None)
            if row is not None:
                at_us = row.arrival_us + shift_us
                self.clock.schedule(at_us, Priority.DELIVERY, lambda: arrive(row))

        def arrive(row: TraceRequest) -> None:
            self._arrive(row, cycle, shift_us)
            schedule_next()

        schedule_next()

    def _arrive(self, row: TraceRequest, cycle: int, shift_us: int) -> None:
        ordinal = self._ordinal
        self._ordinal += 1
        prefill, decode = self._pair.route(ordinal)
        request = Request(
            ordinal=ordinal,
            request_id=row.request_id if cycle == 0 else f"{row.request_id}#{cycle}",
            cycle=cycle,
            arrival_us=self.clock.now_us,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            block_hashes=row.block_hashes,
            cancel_us=None if row.cancel_us is None else row.cancel_us + shift_us,
            room=room_of(self._profile, ordinal),
            prefill=prefill,
            decode=decode,
            session_id=row.session_id,
        )
        self._requests[ordinal] = request
        if self._pair.can_ever_fit(request):
            prefill.arrive(request)
            if self._profile.decode_allocates == "before-prefill":
                decode.arrive(request)
                self._link.timeouts.awaits_decode_pages(request)
                self._pair.wake(decode)
            else:
                self._pair.wake(prefill)
            if request.cancel_us is not None:
                cancel_us = max(request.cancel_us, self.clock.now_us)
                self.clock.schedule(cancel_us, Priority.DELIVERY, lambda: self._cancel(request))
        else:
            request.prefill_state = PrefillState.DROPPED
            decode.reject(request)
            self._pair.wake(decode)
        if self._progress is not None and self._ordinal % _PROGRESS_EVERY == 0:
            self._progress(_PROGRESS_EVERY)

    def _cancel(self, request: Request) -> None:
        """The client went away: the router tells both sides."""
        if not request.decode_ended:
            request.decode.abort(request)
            self._pair.wake(request.decode)
        if not request.prefill_ended and self._profile.client_abort_reaches == "both":
            request.prefill.abort(request)
            self._pair.wake(request.prefill)

    # What the schedulers tell (replay.pair.ports.Watcher).

    def rank_changed(self, rank: Rank, iterations: int) -> None:
        """Audit the rank's pool."""
        self.auditor.audit(rank, iterations)
        self._link.completions.accounting_changed(rank.name)
        if self._lingering:
            lingering, self._lingering = self._lingering, []
            for request in lingering:
                self._let_go(request)

    def rank_idle(self, rank: Rank) -> None:
        """Run the engine's own check, and stop here if that would kill it and was asked for."""
        self.auditor.engine_check(rank)
        self._maybe_stop()

    def engine_died(self, rank: Rank, message: str) -> None:
        """Note that the real engine would have raised and died."""
        self.auditor.note_death(rank, message)
        self._maybe_stop()

    def pages_read(self, request: Request, pages: int) -> None:
        """Compare what decode reads with what it should read."""
        self.contents.check(request, pages, self.clock.now_us)

    def wrong_first_token(self, request: Request, stamp: int) -> None:
        """Record a first token that was read from a stranger's slot."""
        self.contents.wrong_first_token(request, stamp, self.clock.now_us)

    def waiting_for_release(self, request: Request, side: str) -> None:
        """A completion is overdue: start the engine's timeout, if it has one."""
        self._link.timeouts.overdue(request, side)

    def released_again(self, request: Request) -> None:
        """Keep an ended request at hand: it is about to own a part of the gap."""
        self._requests[request.ordinal] = request
        self._lingering.append(request)

    def entered(self, request: Request, state: RequestState) -> None:
        """Note when states began that nothing else dates, and let aborts and timeouts take aim."""
        if state == "prealloc":
            request.prealloc_us = self.clock.now_us
        elif state == "prefill-waiting":
            request.prefill_waiting_us = self.clock.now_us
        elif state == "in-flight":
            request.in_flight_us = self.clock.now_us
        if self.injector.has_aimed_rules:
            self._aimed_faults.entered(request, state)

    def timed_out(self, request: Request, state: RequestState) -> None:
        """Nothing to do when a wait ends: what it leads to is seen. A watched session notes it."""

    def request_ended(self, request: Request) -> None:
        """Write a request down once both sides are done with it, and let go of it."""
        if request.prefill_ended and request.prefill_ended_us < 0:
            request.prefill_ended_us = self.clock.now_us
        if not (request.decode_ended and request.prefill_ended):
            return
        self._write_request(request)
        request.drop_arrays()
        self._let_go(request)

    # Helpers.

    def _let_go(self, request: Request) -> None:
        """Forget an ended request, unless an audit still has to name it.

        A share that an ended request has left when its audit is done stays for good.
        """
        if not (request.decode_ended and request.prefill_ended):
            return
        accounts = (request.decode.pool.account, request.prefill.pool.account)
        if any(account.has_changed(request.ordinal) for account in accounts):
            self._lingering.append(request)
        elif not any(account.has_shares(request.ordinal) for account in accounts):
            self._requests.pop(request.ordinal, None)

    def _can_progress(self, ordinal: int) -> bool:
        """Whether a request that owns part of a gap could still leave it."""
        request = self._requests.get(ordinal)
        if request is None or (request.decode_ended and request.prefill_ended):
            return False
        return self._link.pending.can_progress(ordinal)

    def _find(self, ordinal: int) -> Request:
        return self._requests[ordinal]

    def _maybe_stop(self) -> None:
        if self._options.stop_on_engine_error and self.auditor.died_us is not None:
            self._stop = True

    def _write_request(self, request: Request) -> None:
        self._recorder.request(
            (
                request.request_id,
                request.cycle,
                request.room,
                request.prefill.name,
                request.decode.name,
                request.input_tokens,
                request.output_tokens,
                request.decode.pool.pages_for(request.input_tokens),
                request.prefix_pages,
                request.prefill_state.value,
                request.decode_state.value,
                request.arrival_us,
                request.prealloc_us,
                request.preallocated_us,
                request.prefill_waiting_us,
                request.prefill_start_us,
                request.in_flight_us,
                request.transfer_start_us,
                request.landed_us,
                request.consumed_us,
                request.running_us,
                request.gave_up_us,
                request.ended_us,
                request.prefill_ended_us,
            )
        )
