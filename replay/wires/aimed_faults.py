"""Aborts and timeouts that are aimed at a state: they hit a request while it is in it, or not at all.

request comes into a state --> injector: aim --> strike is scheduled --> still there: it hits
                                                                     --> gone on: it misses
"""

from __future__ import annotations

from collections.abc import Callable

from faults.events import DECODE_STATES, CompletionEvent, Direction, Moment, RequestState
from faults.injector import Delivery, FaultInjector, Strike
from faults.kinds.abort import Abort
from faults.kinds.timeout import Timeout
from replay.pair.clock import Clock, Priority
from replay.pair.deployment import Deployment
from replay.pair.request import Request
from replay.recording.event_results import Result, missed
from replay.recording.kinds import Outcome
from replay.watch.base import Observer
from replay.wires.link import TransferLink

#: Stands for a TP rank where an event is not between TP ranks.
_NO_RANK = -1


class AimedFaults(Observer):
    """Carries out the aimed faults of one replay; `link` has the timeouts that can end."""

    def __init__(self, clock: Clock, injector: FaultInjector, link: TransferLink) -> None:
        self._clock = clock
        self._pair: Deployment
        self._injector = injector
        self._link = link
        self._events = link.completions.events
        self._effects = link.completions.effects
        #: What waits for a request's bytes to land, because the engine's clock starts then.
        self._until_landed: dict[int, list[Callable[[], None]]] = {}

    def begin(self, pair: Deployment) -> None:
        """Know the router, which aborts requests."""
        self._pair = pair

    def state_entered(self, request: Request, state: RequestState) -> None:
        """A request has come into a state: schedule what is aimed at it there."""
        if state == "landed":
            for strike_now in self._until_landed.pop(request.ordinal, ()):
                self._clock.schedule(self._clock.now_us, Priority.DELIVERY, strike_now)
        rank = request.decode if state in DECODE_STATES else request.prefill
        moment = Moment(
            request.request_id,
            request.session_id,
            state,
            rank.name,
            rank.dp_rank,
            self._clock.now_us,
        )
        for strike in self._injector.aim(moment):
            self._schedule(request, state, strike)

    def _schedule(self, request: Request, state: RequestState, strike: Strike) -> None:
        side: Direction = "decode" if state in DECODE_STATES else "prefill"
        rank = request.rank_on(side)
        event = CompletionEvent(
            request_id=request.request_id,
            direction=side,
            prefill_tp_rank=_NO_RANK,
            decode_tp_rank=_NO_RANK,
            pool=rank.name,
            dp_rank=rank.dp_rank,
            bootstrap_room=request.room,
            pages=rank.pool.pages_for(request.input_tokens),
            sent_us=self._clock.now_us,
            due_us=strike.at_us,
            state=state,
        )
        sent = self._events.number(request, event)
        copy = self._events.send_off(sent, Delivery(strike.at_us, False, (strike.rule,)))

        def hit() -> None:
            if strike.rule.fault == Timeout.name and self._link.timeouts.starts_later(
                request, state
            ):
                self._until_landed.setdefault(request.ordinal, []).append(hit)
                return
            result = self._hit(request, side, strike)
            self._effects.aimed_fault_ended(
                copy, self._clock.now_us, result, has_hit=result.outcome is not Outcome.MISSED
            )

        self._clock.schedule(strike.at_us, Priority.DELIVERY, hit)

    def _hit(self, request: Request, side: Direction, strike: Strike) -> Result:
        aimed_at, found = strike.rule.when, request.state_on(side)
        if aimed_at is None or found != aimed_at:
            return missed(f"it was {found} by then")
        if strike.rule.fault == Abort.name:
            self._pair.cancel(request)
            return Result(Outcome.ABORTED, found)
        result = self._link.timeouts.end_now(request, aimed_at)
        return result or missed(f"no timeout of this engine runs while it is {found}")
