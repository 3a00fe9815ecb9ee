"""The in-flight queue of one prefill rank: computed prompts, held until they are acknowledged.

    put --> open --every sender acknowledged--> released
             |
             +-- failed ------------------------> released, or forgotten with its pages, or raises
             +-- cancelled, or timed out -------> released
             +-- acknowledgement lost without a timeout: open forever

Acknowledgements arrive between iterations and are processed in the next one (`settle`). Source:
sglang 0.4.6.post4 `disaggregation/prefill.py` (process_disagg_prefill_inflight_queue).
"""

from __future__ import annotations

from typing import Protocol

from faults.events import CompletionEvent
from replay.pair.ports import Link, Watcher
from replay.pair.prompt_memory import PromptMemory
from replay.pair.request import PrefillState, Rank, Request, TransferState
from replay.profiles.profile import EngineProfile
from replay.recording.event_results import ACCEPTED, CRASHED, Result, ignored
from replay.recording.kinds import Outcome


class Owner(Rank, Protocol):
    """The rank that an in-flight queue belongs to."""

    def end(self, request: Request, state: PrefillState) -> None:
        """The request has ended on this side, in that state."""


class InFlightQueue:
    """Prompts in flight over one pool."""

    def __init__(
        self,
        profile: EngineProfile,
        memory: PromptMemory,
        link: Link,
        watcher: Watcher,
        rank: Owner,
    ) -> None:
        self.open: dict[int, Request] = {}
        self._profile = profile
        self._memory = memory
        self._link = link
        self._watcher = watcher
        self._rank = rank
        self._failed: list[Request] = []
        self._to_release: list[Request] = []
        self._to_release_again: list[Request] = []
        #: The last acknowledgement that freed pages a second time, by event number.
        self.freed_again_by_event = -1
        self._due: list[Request] = []
        #: Time of the last poll, -1 before the first.
        self.polled_us = -1
        self._died_of: set[int] = set()

    def put(self, request: Request) -> None:
        """Hold a computed prompt."""
        request.prefill_state = PrefillState.INFLIGHT
        self.open[request.ordinal] = request
        self._memory.to_transfer(request)

    # Events from outside, between iterations.

    def complete(
        self, request: Request, event: CompletionEvent, number: int, failed: bool
    ) -> Result:
        """Process one acknowledgement, by its number, and return the outcome."""
        if request.prefill_state is not PrefillState.INFLIGHT:
            return self._acknowledge_again(request, number)
        if failed:
            self._failed.append(request)
            return ACCEPTED
        awaiting, sender = request.awaiting_acknowledgements, event.prefill_tp_rank
        if awaiting and self._profile.counts_completions == "by-number":
            sender = next(iter(awaiting))
        if sender not in awaiting:
            return self._acknowledge_again(request, number)
        awaiting.discard(sender)
        if not awaiting:
            request.released_by_event = number
            self._to_release.append(request)
        return ACCEPTED

    def awaits(self, request: Request, event: CompletionEvent) -> bool:
        """Whether this acknowledgement would change anything."""
        awaiting = request.awaiting_acknowledgements
        if self._profile.counts_completions == "by-number":
            return request.ordinal in self.open and bool(awaiting)
        return request.ordinal in self.open and event.prefill_tp_rank in awaiting

    def in_room(self, room: int) -> Request | None:
        """Return the request held under this room, if any; O(queue)."""
        return next((each for each in self.open.values() if each.room == room), None)

    def receive_misrouted(self, request: Request, number: int) -> Result:
        """Process an acknowledgement that arrived as a receive completion."""
        if self._profile.misrouted_acknowledgement == "ignore":
            return ignored("nothing is received here")
        if request.prefill_state is PrefillState.INFLIGHT:
            request.released_by_event = number
            self._to_release.append(request)
            return Result(Outcome.ACCEPTED, "released without its acknowledgement")
        return ignored("request had moved on")

    def acknowledge_stranger(self) -> Result:
        """Process an acknowledgement of a request that another rank holds."""
        if self._profile.duplicate_acknowledgement == "crash":
            # vllm 0.33.0, v1/core/sched/scheduler.py (_update_from_kv_xfer_finished).
            self._watcher.engine_died(self._rank, "AssertionError: assert req_id in self.requests")
            return CRASHED
        return ignored("not held here")

    def check_overdue(self, request: Request) -> None:
        """Check at the next poll that every acknowledgement has arrived."""
        self._due.append(request)

    def give_up(self, request: Request) -> None:
        """Release a request that was cancelled or whose acknowledgement never arrived."""
        self._to_release.append(request)

    def _acknowledge_again(self, request: Request, number: int) -> Result:
        rule = self._profile.duplicate_acknowledgement
        if rule == "free-again" and (
            request.prefill_state in (PrefillState.INFLIGHT, PrefillState.DONE)
        ):
            self._to_release_again.append(request)
            self.freed_again_by_event = number
            return Result(Outcome.ACCEPTED_AGAIN)
        if rule == "crash" and request.prefill_ended:
            # vllm 0.33.0, v1/core/sched/scheduler.py (_update_from_kv_xfer_finished).
            self._watcher.engine_died(self._rank, "AssertionError: assert req_id in self.requests")
            return CRASHED
        return ignored("already counted")

    # The poll of one iteration.

    def settle(self, now_us: int) -> None:
        """Process the acknowledgements since the last iteration."""
        self.polled_us = now_us
        for request in self._failed:
            if request.prefill_state is PrefillState.INFLIGHT:
                self._fail(request)
        self._failed.clear()
        for request in self._to_release:
            if request.prefill_state is PrefillState.INFLIGHT:
                self._release(request)
        self._to_release.clear()
        for request in self._to_release_again:
            if request.released_pages is not None:
                self._watcher.released_again(request)
                self._memory.release_again(request)
        self._to_release_again.clear()
        for request in self._due:
            self.stall(request)
        self._due.clear()

    def stall(self, request: Request) -> None:
        """Record overdue acknowledgements, if they are still expected."""
        if request.prefill_state is PrefillState.INFLIGHT and self._memory.stall(request):
            self._link.timeouts.overdue(request, "prefill")

    def _release(self, request: Request) -> None:
        """Release the resources of a request in flight, and end it."""
        del self.open[request.ordinal]
        self._memory.release(request)
        request.released_early = request.transfer_state is not TransferState.LANDED
        was_cancelled = request.cancelled or request.transfer_state is TransferState.NOT_STARTED
        self._rank.end(request, PrefillState.DROPPED if was_cancelled else PrefillState.DONE)

    def _fail(self, request: Request) -> None:
        """Handle a failure reported by a sender."""
        if self._profile.failed_transfer == "release":
            self._release(request)
        elif self._profile.failed_transfer == "leak":
            del self.open[request.ordinal]
            self._memory.forget(request)
            self._rank.end(request, PrefillState.DROPPED)
        else:
            # The exception leaves the queue unchanged: the request will never be released.
            self._due.append(request)
            if request.ordinal not in self._died_of:
                self._died_of.add(request.ordinal)
                self._watcher.engine_died(self._rank, "Transferring failed")
