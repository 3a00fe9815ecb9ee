"""The requests of a replay: who must be kept at hand, and the row of each that has ended."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter

from faults.events import RequestState
from replay.pair.clock import Clock
from replay.pair.deployment import Deployment
from replay.pair.request import Rank, Request
from replay.recording.tables import REQUESTS_SCHEMA
from replay.recording.writer import RecordingWriter
from replay.watch.base import Observer

#: Columns of requests.parquet that a request has under another name.
_CALLED = {
    "bootstrap_room": "room",
    "prefill_pool": "prefill.name",
    "decode_pool": "decode.name",
    "prefill_state": "prefill_state.value",
    "decode_state": "decode_state.value",
}
_row = attrgetter(*(_CALLED.get(column, column) for column in REQUESTS_SCHEMA.names))


class PendingWork:
    """Requests that something under way could still move on, by ordinal."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: Counter[int] = Counter()

    def expect(self, request: Request) -> None:
        """Something that concerns the request has been set going."""
        self._pending[request.ordinal] += 1

    def settle(self, request: Request) -> None:
        """It has happened, or cannot happen any more."""
        self._pending[request.ordinal] -= 1
        if self._pending[request.ordinal] == 0:
            del self._pending[request.ordinal]

    @property
    def is_anything_pending(self) -> bool:
        """Whether anything is under way for anybody."""
        return bool(self._pending)

    def can_progress(self, ordinal: int) -> bool:
        """Whether anything is still under way for this request."""
        return self._pending[ordinal] > 0


class RequestBook(Observer):
    """Every request until both sides are done with it, and as long as an audit must name it."""

    def __init__(self, recorder: RecordingWriter) -> None:
        self.by_ordinal: dict[int, Request] = {}
        self._recorder = recorder
        self._clock: Clock
        #: Ended requests whose part of a gap has changed: the next audit has to name them.
        self._ended_but_in_gap: list[Request] = []

    def begin(self, pair: Deployment) -> None:
        """Know the time."""
        self._clock = pair.clock

    def request_arrived(self, request: Request) -> None:
        """Keep it at hand."""
        self.by_ordinal[request.ordinal] = request

    def state_entered(self, request: Request, state: RequestState) -> None:
        """Note when states began that nothing else dates."""
        if state == "prealloc":
            request.prealloc_us = self._clock.now_us
        elif state == "prefill-waiting":
            request.prefill_waiting_us = self._clock.now_us
        elif state == "in-flight":
            request.in_flight_us = self._clock.now_us

    def released_again(self, request: Request) -> None:
        """Keep an ended request at hand: it is about to own a part of the gap."""
        self.by_ordinal[request.ordinal] = request
        self._ended_but_in_gap.append(request)

    def accounting_changed(self, rank: Rank, iterations: int) -> None:
        """The audit of these changes is done: forget whom it had to name."""
        if self._ended_but_in_gap:
            ended, self._ended_but_in_gap = self._ended_but_in_gap, []
            for request in ended:
                self._forget(request)

    def request_ended(self, request: Request) -> None:
        """Write a request down once both sides are done with it, and forget it."""
        if request.prefill_ended and request.prefill_ended_us < 0:
            request.prefill_ended_us = self._clock.now_us
        if request.has_ended:
            self._write(request)
            request.drop_arrays()
            self._forget(request)

    def replay_ended(self) -> None:
        """Write the requests that have not ended."""
        for request in self.by_ordinal.values():
            if not request.has_ended:
                self._write(request)

    def _forget(self, request: Request) -> None:
        """Forget an ended request, unless an audit still has to name it.

        A share that an ended request has left when its audit is done stays for good.
        """
        if not request.has_ended:
            return
        accounts = (request.decode.pool.account, request.prefill.pool.account)
        if any(account.has_changed(request.ordinal) for account in accounts):
            self._ended_but_in_gap.append(request)
        elif not any(account.has_shares(request.ordinal) for account in accounts):
            self.by_ordinal.pop(request.ordinal, None)

    def _write(self, request: Request) -> None:
        self._recorder.request(_row(request))
