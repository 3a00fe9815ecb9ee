"""What a transfer waits for, state by state, and what happens when it has waited too long.

    prefill, bootstrap    decode's pages     -> prefill drops the request
    decode, transfer      bytes that move    -> decode gives it up, or asks the sender and waits on
    decode, transfer      the completion     -> decode gives it up       (armed when it is overdue)
    decode, deferred      the writer's word  -> decode releases the pages without it
    prefill, in flight    acknowledgements   -> prefill releases the prompt

A timeout of None waits for ever. All waits of one kind last equally long, so they end in the order in
which they began: one queue and one timer a kind, whatever the number of requests that wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from faults.events import Direction, RequestState
from replay.pair.clock import Clock, Priority
from replay.pair.deployment import Deployment
from replay.pair.request import DecodeState, PrefillState, Request, TransferState
from replay.profiles.profile import EngineProfile
from replay.recording.event_results import Result
from replay.recording.kinds import Outcome
from replay.watch.base import Observer
from replay.watch.requests import PendingWork


class TimeoutQueue:
    """Requests that wait for the same thing, each for the same time.

    Args:
        timeout_us: how long each waits; None waits for ever, and the queue stays empty.
        still_waits: whether the timeout still concerns a request.
        expire: what happens to one that has waited too long; returns True to let it wait again.
    """

    def __init__(
        self,
        clock: Clock,
        pending: PendingWork,
        timeout_us: int | None,
        still_waits: Callable[[Request], bool],
        expire: Callable[[Request], bool],
    ) -> None:
        self._clock = clock
        self._pending = pending
        self._timeout_us = timeout_us
        self._still_waits = still_waits
        self._expire = expire
        self._waiting: deque[tuple[int, Request]] = deque()
        self._is_armed = False

    def watch(self, request: Request) -> None:
        """Start the request's wait."""
        if self._timeout_us is None:
            return
        self._drop_those_done()
        self._pending.expect(request)
        self._waiting.append((self._clock.now_us + self._timeout_us, request))
        if not self._is_armed:
            self._arm()

    def forget_those_done(self) -> None:
        """Let go of every request that waits for nothing any more; O(queue)."""
        still = [entry for entry in self._waiting if self._still_waits(entry[1])]
        for _, request in self._waiting:
            if not self._still_waits(request):
                self._pending.settle(request)
        self._waiting = deque(still)

    def _drop_those_done(self) -> None:
        """Let go of the first in the queue as long as they wait for nothing any more."""
        while self._waiting and not self._still_waits(self._waiting[0][1]):
            self._pending.settle(self._waiting.popleft()[1])

    def _arm(self) -> None:
        """Set the one timer, for whoever is first now; who comes first later has longer to wait."""
        self._is_armed = True
        self._clock.schedule(self._waiting[0][0], Priority.HARNESS, self._fire, is_work=False)

    def _fire(self) -> None:
        self._is_armed = False
        self._drop_those_done()
        while self._waiting and self._waiting[0][0] <= self._clock.now_us:
            _, request = self._waiting.popleft()
            self._pending.settle(request)
            if self._still_waits(request) and self._expire(request):
                self.watch(request)
        if self._waiting and not self._is_armed:
            self._arm()


class TransferTimeouts:
    """All timeouts of one pair's transfers."""

    def __init__(
        self,
        profile: EngineProfile,
        clock: Clock,
        pending: PendingWork,
        observer: Observer,
    ) -> None:
        self._observer = observer
        self._pair: Deployment
        self._profile = profile
        self._clock = clock
        self._pending = pending

        def queue(
            timeout_us: int | None,
            still_waits: Callable[[Request], bool],
            expire: Callable[[Request], bool],
        ) -> TimeoutQueue:
            return TimeoutQueue(clock, pending, timeout_us, still_waits, expire)

        self._bootstraps = queue(
            profile.bootstrap_timeout_us, _awaits_decode_pages, self._end_bootstrap
        )
        self._waits = queue(profile.waiting_timeout_us, _awaits_bytes, self._end_waiting)
        self._deferrals = queue(profile.deferred_timeout_us, _is_deferred, self._end_deferral)
        self._holds = queue(profile.acknowledgement_timeout_us, _is_in_flight, self._end_hold)

    def connect(self, pair: Deployment) -> None:
        """Know whom to wake."""
        self._pair = pair

    def awaits_decode_pages(self, request: Request) -> None:
        """Prefill waits for decode's pages from now on."""
        self._bootstraps.watch(request)

    def awaits_bytes(self, request: Request) -> None:
        """Decode has pages, and waits for bytes that move from now on."""
        self._waits.watch(request)

    def awaits_writer(self, request: Request) -> None:
        """Decode has given the request up, and waits for the word that nobody writes its pages."""
        self._deferrals.watch(request)

    def holds_prompt(self, request: Request) -> None:
        """Prefill holds a computed prompt, and its timeout may count from here."""
        if self._profile.acknowledgement_timeout_from == "sent":
            self._holds.watch(request)

    def forget_those_done(self) -> None:
        """Let go of every request that waits for nothing any more."""
        for queue in (self._bootstraps, self._waits, self._deferrals, self._holds):
            queue.forget_those_done()

    def overdue(self, request: Request, side: Direction) -> None:
        """A completion, or on the side of prefill an acknowledgement, has not come when it was due."""
        profile = self._profile
        if side == "decode" and profile.completion_timeout_us is not None:
            self._arm(request, profile.completion_timeout_us, self._end_completion)
        if (
            side == "prefill"
            and profile.acknowledgement_timeout_us is not None
            and profile.acknowledgement_timeout_from == "landed"
        ):
            self._arm(request, profile.acknowledgement_timeout_us, self._end_hold)

    def _arm(self, request: Request, after_us: int, expire: Callable[[Request], bool]) -> None:
        self._pending.expect(request)

        def fire() -> None:
            self._pending.settle(request)
            expire(request)

        self._clock.schedule(self._clock.now_us + after_us, Priority.HARNESS, fire, is_work=False)

    def starts_later(self, request: Request, state: RequestState) -> bool:
        """Whether the clock of this wait has not started, but will when the bytes have landed."""
        return (
            state == "in-flight"
            and self._profile.acknowledgement_timeout_from == "landed"
            and _is_in_flight(request)
            and request.transfer_state is not TransferState.LANDED
        )

    def end_now(self, request: Request, state: RequestState) -> Result | None:
        """End the wait of a request in this state as if its time were up; what came of it.

        None where the engine has no timeout in this state. Its clock must run, see `starts_later`.
        """
        profile = self._profile
        waits: dict[RequestState, tuple[int | None, Callable[[Request], bool]]] = {
            "bootstrap": (profile.bootstrap_timeout_us, self._end_bootstrap),
            "transfer": (profile.waiting_timeout_us, self._end_waiting),
            "landed": (profile.completion_timeout_us, self._end_completion),
            "deferred": (profile.deferred_timeout_us, self._end_deferral),
            "in-flight": (profile.acknowledgement_timeout_us, self._end_hold),
        }
        timeout_us, end = waits[state]
        if timeout_us is None:
            return None
        return Result(Outcome.EXTENDED if end(request) else Outcome.TIMED_OUT)

    # What each does when it ends; True lets the request wait again.

    def _end_bootstrap(self, request: Request) -> bool:
        self._observer.wait_timed_out(request, "bootstrap")
        request.prefill.fail(request)
        self._pair.wake(request.prefill)
        return False

    def _end_waiting(self, request: Request) -> bool:
        has_sender = request.prefill_state is not PrefillState.DROPPED
        if self._profile.timeout_asks_sender and has_sender:
            return True
        return self._end_completion(request)

    def _end_completion(self, request: Request) -> bool:
        if request.decode_state is DecodeState.TRANSFER:
            self._observer.wait_timed_out(request, "transfer")
        request.decode.transfers.fail(request)
        self._pair.wake(request.decode)
        return False

    def _end_deferral(self, request: Request) -> bool:
        self._observer.wait_timed_out(request, "deferred")
        request.decode.deferral_ended(request)
        self._pair.wake(request.decode)
        return False

    def _end_hold(self, request: Request) -> bool:
        if _is_in_flight(request):
            self._observer.wait_timed_out(request, "in-flight")
        request.prefill.inflight.give_up(request)
        self._pair.wake(request.prefill)
        return False


def _awaits_decode_pages(request: Request) -> bool:
    return request.prefill_state is PrefillState.BOOTSTRAP


def _awaits_bytes(request: Request) -> bool:
    """Whether decode holds pages for a request whose bytes have not begun to move."""
    return (
        request.decode_state is DecodeState.TRANSFER
        and request.transfer_state is TransferState.NOT_STARTED
    )


def _is_deferred(request: Request) -> bool:
    return request.decode_state is DecodeState.DEFERRED


def _is_in_flight(request: Request) -> bool:
    return request.prefill_state is PrefillState.INFLIGHT
