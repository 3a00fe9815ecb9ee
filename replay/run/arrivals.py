"""Arrivals: the requests of a trace reach the router one by one, at their virtual times."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from replay.pair.clock import Priority
from replay.pair.deployment import Deployment
from replay.pair.request import PrefillState, Request
from replay.profiles.routing import room_of
from replay.watch.base import Observer
from traces.schema import TraceRequest

#: Requests between two progress reports.
_PROGRESS_EVERY = 256


class Arrivals:
    """Feeds traces to a pair.

    Args:
        observer: notified of every arrival.
        progress: called from time to time with the number of requests arrived since the last call.
    """

    def __init__(
        self, pair: Deployment, observer: Observer, progress: Callable[[int], None] | None
    ) -> None:
        #: Requests that have arrived so far.
        self.count = 0
        self._pair = pair
        self._observer = observer
        self._progress = progress

    def feed(self, requests: Iterable[TraceRequest], cycle: int, shift_us: int) -> None:
        """Schedule the first arrival; each arrival schedules the next."""
        rows = iter(requests)

        def schedule_next() -> None:
            row = next(rows, None)
            if row is not None:
                at_us = row.arrival_us + shift_us
                self._pair.clock.schedule(at_us, Priority.DELIVERY, lambda: arrive(row))

        def arrive(row: TraceRequest) -> None:
            self._arrive(row, cycle, shift_us)
            schedule_next()

        schedule_next()

    def _arrive(self, row: TraceRequest, cycle: int, shift_us: int) -> None:
        pair, request = self._pair, self._request(row, cycle, shift_us)
        self.count += 1
        self._observer.request_arrived(request)
        if pair.can_ever_fit(request):
            request.prefill.arrive(request)
            if pair.profile.decode_allocates == "before-prefill":
                request.decode.arrive(request)
                pair.wake(request.decode)
            else:
                pair.wake(request.prefill)
            if request.cancel_us is not None:
                cancel_us = max(request.cancel_us, pair.clock.now_us)
                pair.clock.schedule(cancel_us, Priority.DELIVERY, lambda: pair.cancel(request))
        else:
            request.prefill_state = PrefillState.DROPPED
            request.decode.reject(request)
            pair.wake(request.decode)
        if self._progress is not None and self.count % _PROGRESS_EVERY == 0:
            self._progress(_PROGRESS_EVERY)

    def _request(self, row: TraceRequest, cycle: int, shift_us: int) -> Request:
        ordinal = self.count
        prefill, decode = self._pair.route(ordinal)
        return Request(
            ordinal=ordinal,
            request_id=row.request_id if cycle == 0 else f"{row.request_id}#{cycle}",
            cycle=cycle,
            arrival_us=self._pair.clock.now_us,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            block_hashes=row.block_hashes,
            cancel_us=None if row.cancel_us is None else row.cancel_us + shift_us,
            room=room_of(self._pair.profile, ordinal),
            prefill=prefill,
            decode=decode,
            session_id=row.session_id,
        )
