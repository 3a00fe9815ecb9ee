"""One replay: builds the pair and its observers, and runs a trace under a fault plan through phases.

inject    the trace arrives and faults act, until nothing healthy is left to happen
heal      no faults; late events are delivered and waits time out, within a budget
repeat-n  the same trace again without faults, to see whether the remaining gap grows
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from faults.injector import FaultInjector, FaultJournal
from faults.rule import FaultPlan
from replay.pair.clock import Clock
from replay.pair.deployment import build_deployment
from replay.pool.arrays import Arrays
from replay.pool.foreign_allocator import AllocatorFactory
from replay.profiles.profile import EngineProfile
from replay.recording.writer import RecordingWriter
from replay.run.arrivals import Arrivals
from replay.watch.audit import Auditor
from replay.watch.base import Observer, Observers
from replay.watch.contents import ContentOracle
from replay.watch.oracles import counting_oracles
from replay.watch.requests import PendingWork, RequestBook
from replay.wires.aimed_faults import AimedFaults
from replay.wires.link import TransferLink
from traces.schema import TraceRequest


class TraceSource(Protocol):
    """A trace that can be read from the start any number of times."""

    @property
    def block_size(self) -> int | None:
        """Tokens of one prompt block, or None if the trace has no block hashes."""

    def iter_requests(self) -> Iterator[TraceRequest]:
        """Its requests in order of arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Options of a replay in addition to the trace, the profile and the plan."""

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
    """The result of a replay in addition to its tables."""

    phases: tuple[Phase, ...]
    requests: int
    budget_exhausted: bool
    stopped_early: bool
    #: Whether events, such as a timer, were pending when the replay ended.
    pending_at_end: bool


class Session:
    """A running replay.

    Args:
        make_allocator: creates the free list of every pool, in place of the engine's.
        observers: additional observers, notified after those that write the recording.
    """

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
        observers: Sequence[Observer] = (),
    ) -> None:
        self._trace = trace
        self._options = options
        self._recorder = recorder
        self._clock = Clock()
        self._injector = FaultInjector(plan, options.seed)
        self._pending = PendingWork()
        self._observers = Observers()
        self._link = TransferLink(
            profile, self._clock, self._injector, recorder, self._pending, self._observers
        )
        self.pair = build_deployment(
            profile,
            trace.block_size,
            self._clock,
            self._link,
            self._observers,
            arrays,
            options.every_step,
            make_allocator,
        )
        self._arrivals = Arrivals(self.pair, self._observers, progress)
        self._requests = RequestBook(recorder)
        self.auditor = Auditor(recorder, self._requests.by_ordinal, self._pending)
        members: list[Observer] = [
            self._link,
            ContentOracle(recorder, arrays, self._link.strays),
            self.auditor,
            self._requests,
            *counting_oracles(),
        ]
        if self._injector.has_aimed_rules:
            members.append(AimedFaults(self._clock, self._injector, self._link))
        self._observers.join([*members, *observers])
        self._observers.begin(self.pair)
        self._phases: list[Phase] = []
        self._budget_exhausted = False

    @property
    def fault_journal(self) -> FaultJournal:
        """The effects of every rule of the plan."""
        return self._link.completions.effects.journal(self._injector.journal)

    def findings(self) -> dict[str, dict[str, Any]]:
        """The oracles' findings for run.json, by oracle name."""
        return self._observers.findings()

    def run(self) -> SessionResult:
        """Replay the trace through all phases and finish the recording."""
        self.run_phases()
        return self.close()

    def run_phases(self) -> None:
        """Replay the trace through all phases."""
        self._run_phase("inject", self._replay_trace)
        self._injector.disarm()
        self._run_phase("heal", self._heal)
        for cycle in range(1, self._options.repeats + 1):
            if self._is_stopped:
                break
            self._run_phase(f"repeat-{cycle}", partial(self._replay_trace, cycle))

    def run_dry(self) -> None:
        """Continue without a limit of virtual time until nothing can happen any more."""
        while self._is_anything_left() and self._clock.run_next():
            pass

    def close(self) -> SessionResult:
        """Finish the recording."""
        pending_at_end = self._is_anything_left()
        self._observers.replay_ended()
        self._recorder.close()
        return SessionResult(
            tuple(self._phases),
            self._arrivals.count,
            self._budget_exhausted,
            self._is_stopped,
            pending_at_end,
        )

    # Phases.

    def _run_phase(self, phase: str, run: Callable[[], None]) -> None:
        start_us = self._clock.now_us
        self._observers.phase_began(phase)
        run()
        self._observers.phase_ended(phase)
        self._phases.append(Phase(phase, start_us, self._clock.now_us))

    def _replay_trace(self, cycle: int = 0) -> None:
        """Run until no work is left; late events and timers may remain."""
        shift_us = self._clock.now_us if cycle else 0
        self._arrivals.feed(self._trace.iter_requests(), cycle, shift_us)
        while self._clock.pending_work and not self._is_stopped:
            self._clock.run_next()

    def _heal(self) -> None:
        """Run until nothing is left, or until the budget of virtual time is spent."""
        deadline_us = self._clock.now_us + self._options.heal_budget_us
        while (
            not self._is_stopped and self._is_anything_left() and self._clock.run_next(deadline_us)
        ):
            pass
        self._budget_exhausted = self._is_anything_left() and not self._is_stopped
        if not self._budget_exhausted:
            # Nothing is left to happen, so requests that still wait for a transfer wait forever.
            for request in list(self._requests.by_ordinal.values()):
                request.decode.transfers.stall(request)
                request.prefill.inflight.stall(request)

    @property
    def _is_stopped(self) -> bool:
        """Whether the engine has died and the replay should stop."""
        return self._options.stop_on_engine_error and self.auditor.died_us is not None

    def _is_anything_left(self) -> bool:
        """Whether pending events could still change anything; unneeded timers cannot."""
        if self._clock.pending_work:
            return True
        self._link.timeouts.forget_those_done()
        # A late copy for a request that has ended counts as well: it may free its pages again.
        return self._pending.is_anything_pending
