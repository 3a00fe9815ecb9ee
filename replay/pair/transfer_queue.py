"""The transfers of one decode rank, from the allocation of pages until the KV has arrived or was given up.

    admit --> open --every TP rank was told--> arrived (the waiting queue's)
               | |
               | +-- failed, timed out or aborted --> released at once, or
               |                                      deferred --nobody writes any more--> released
               +-- completion lost without a timeout: open forever

Completions arrive between iterations and are processed in the next one (`poll`), as SGLang polls
its receivers. Source: sglang 0.4.6.post4 and 0.5.23 `disaggregation/decode.py`
(DecodeTransferQueue).
"""

from __future__ import annotations

from typing import Protocol

from faults.events import CompletionEvent
from replay.pair.decode_memory import DecodeMemory
from replay.pair.metadata_slots import EMPTY
from replay.pair.ports import Link, Watcher
from replay.pair.receipt import Receipt, ReceiptRules
from replay.pair.request import DecodeState, Rank, Request
from replay.profiles.profile import EngineProfile
from replay.recording.event_results import CRASHED, Result, ignored
from replay.recording.kinds import Outcome


class Owner(Rank, Protocol):
    """The rank that a transfer queue belongs to."""

    needs_attention: bool

    def end(self, request: Request, state: DecodeState, now_us: int) -> None:
        """The request has ended on this side, in that state."""

    def forget(self, request: Request, now_us: int) -> None:
        """Drop the request without releasing its resources."""


class TransferQueue:
    """Open and deferred transfers over one pool."""

    def __init__(
        self,
        profile: EngineProfile,
        memory: DecodeMemory,
        link: Link,
        watcher: Watcher,
        rank: Owner,
    ) -> None:
        self.open: dict[int, Request] = {}
        self.deferred: dict[int, Request] = {}
        #: The TP ranks disagreed and wait for each other in a collective forever.
        self.is_hung = False
        #: Time of the last poll, -1 before the first.
        self.polled_us = -1
        self._profile = profile
        self._pool = rank.pool
        self._memory = memory
        self._link = link
        self._watcher = watcher
        self._rank = rank
        self._rules = ReceiptRules(profile, profile.parties())
        #: Requests whose completions changed since the last poll, in that order.
        self._news: dict[int, Request] = {}
        self._due: list[Request] = []
        self._by_room: dict[int, Request] = {}
        #: Rooms of which the status of an earlier transfer was never cleaned up, where rooms are
        #: used again.
        self._used_rooms: set[int] = set()
        self._died_of: set[int] = set()

    def __len__(self) -> int:
        return len(self.open)

    def is_wedged(self, request: Request) -> bool:
        """Whether an earlier transfer, or its own, left a status on the request's room."""
        if self._profile.used_rooms == "forgotten":
            return False
        return request.consumed_us >= 0 or request.room in self._used_rooms

    def admit(self, request: Request, now_us: int) -> None:
        """Allocate pages and a slot for a request, and notify the sender of them."""
        self._pool.account.transfer_pages += len(self._memory.take(request))
        request.metadata_slot = self._memory.metadata_slots.take(request.writer)
        request.receipt = Receipt(self._rules)
        request.preallocated_us = now_us
        request.decode_state = DecodeState.TRANSFER
        self.open[request.ordinal] = request
        self._by_room[request.room] = request
        self._watcher.state_entered(request, "transfer")
        self._link.send_metadata(request)

    # Events from outside, between iterations.

    def complete(
        self, sent_for: Request, event: CompletionEvent, number: int, failed: bool
    ) -> Result:
        """Process one completion event, by its number, and return the outcome."""
        sender, receiver = event.prefill_tp_rank, event.decode_tp_rank
        request = self._addressee(sent_for)
        if request is None or request.receipt is None:
            return self._unexpected(sent_for)
        if failed:
            if self._profile.status_only_rises and request.receipt.has_success(receiver):
                request.receipt.take(sender, receiver)
                self._note(request)
                return Result(Outcome.MASKED, "a success came first")
            request.receipt.failed_ranks.add(receiver)
            if self._profile.deferred_until == "completed":
                # The transfer is done and cannot change any more.
                request.sender_stopped = True
        elif not request.receipt.take(sender, receiver):
            return ignored("already counted")
        elif self._profile.status_only_rises:
            request.receipt.failed_ranks.discard(receiver)
        request.completed_by_event = number
        if failed or request.receipt.is_done or not self._profile.ranks_agree:
            self._note(request)
        is_own = request is sent_for
        return Result(Outcome.ACCEPTED, None if is_own else "for another request of its room")

    def awaits(self, request: Request, event: CompletionEvent) -> bool:
        """Whether this completion would change anything."""
        is_open = request.decode_state in (DecodeState.TRANSFER, DecodeState.DEFERRED)
        receipt = request.receipt if is_open else None
        return receipt is not None and receipt.lacks(event.prefill_tp_rank, event.decode_tp_rank)

    def in_room(self, room: int) -> Request | None:
        """Return the request that waits for the transfer of this room, if any."""
        return self._by_room.get(room)

    def metadata_landed(self, request: Request, slot: int, writer: int) -> bool:
        """Accept a first token; return whether an earlier completion was waiting for it."""
        self._memory.metadata_slots.write(slot, writer)
        was_gated = request.receipt is not None and request.receipt.is_done
        if was_gated:
            self._note(request)
        return was_gated

    def fail(self, request: Request) -> None:
        """End a transfer as failed from this side (a timeout, or the peer's notice)."""
        if request.decode_state is DecodeState.TRANSFER:
            request.transfer_failed = True
            self._note(request)

    def check_overdue(self, request: Request) -> None:
        """Check at the next poll that every completion of the request has arrived."""
        self._due.append(request)
        self._rank.needs_attention = True

    def _note(self, request: Request) -> None:
        self._news[request.ordinal] = request
        self._rank.needs_attention = True

    def _addressee(self, sent_for: Request) -> Request | None:
        """Return the request that a completion counts for, or None if no request waits for it."""
        if self._profile.matches_completions_by == "room":
            return self._by_room.get(sent_for.room)
        is_awaited = sent_for.ordinal in self.open or sent_for.ordinal in self.deferred
        return sent_for if is_awaited else None

    def _unexpected(self, sent_for: Request) -> Result:
        if self._profile.unexpected_completion == "ignore":
            return ignored("request had moved on")
        # vllm 0.33.0, v1/core/sched/scheduler.py (_update_from_kv_xfer_finished).
        words = (
            "assert req_id in self.requests"
            if sent_for.decode_ended
            else "assert RequestStatus.is_finished(req.status)"
        )
        self._watcher.engine_died(self._rank, f"AssertionError: {words}")
        return CRASHED

    # The poll of one iteration.

    def poll(self, now_us: int) -> list[Request]:
        """Process the completions since the last poll; return the requests whose KV has arrived."""
        self.polled_us = now_us
        news, self._news = self._news, {}
        arrived = []
        for request in news.values():
            if request.decode_state is not DecodeState.TRANSFER or request.receipt is None:
                continue
            if not self._profile.ranks_agree and request.receipt.is_split:
                self.is_hung = True
                break
            if request.transfer_failed or request.receipt.failed_ranks:
                self._transfer_failed(request, now_us)
            elif request.receipt.is_done and self._has_first_token(request, now_us):
                self._arrive(request, now_us)
                arrived.append(request)
        for request in self._due:
            self.stall(request)
        self._due.clear()
        return arrived

    def stall(self, request: Request) -> None:
        """Record that the request's transfer is overdue, if it is still expected."""
        if request.decode_state not in (DecodeState.TRANSFER, DecodeState.DEFERRED):
            return
        account = self._pool.account
        if not account.is_stalled(request.ordinal):
            account.stall(request.ordinal, self._pool.pages_for(request.kv_tokens))
            self._link.timeouts.overdue(request, "decode")

    def _arrive(self, request: Request, now_us: int) -> None:
        self._close(request)
        self._pool.account.live_pages += self._pool.pages_for(request.kv_tokens)
        request.consumed_us = now_us
        request.decode_state = DecodeState.WAITING
        self._watcher.state_entered(request, "waiting")
        if self._profile.used_rooms == "wedge" and self._profile.bootstrap_rooms:
            self._used_rooms.add(request.room)

    def _has_first_token(self, request: Request, now_us: int) -> bool:
        """Check the first-token buffer; return False while a gate makes the request wait for it."""
        stamp = self._memory.metadata_slots.stamp(request.metadata_slot)
        if stamp == request.writer:
            return True
        if not self._profile.metadata_gate:
            self._watcher.wrong_first_token(request, stamp)
            return True
        if stamp != EMPTY:
            # Another transfer's metadata: give this transfer up instead of decoding from it.
            self.give_up(request, DecodeState.FAILED, now_us)
        return False

    def _transfer_failed(self, request: Request, now_us: int) -> None:
        if self._profile.failed_transfer == "raise":
            # The exception leaves the queue unchanged, so every later poll would raise again.
            if request.ordinal not in self._died_of:
                self._died_of.add(request.ordinal)
                self._watcher.engine_died(self._rank, "Transfer failed")
            self.stall(request)
        elif self._profile.failed_transfer == "leak":
            self._close(request)
            self._rank.forget(request, now_us)
        else:
            self.give_up(request, DecodeState.FAILED, now_us)

    # Giving up.

    def give_up(self, request: Request, state: DecodeState, now_us: int) -> None:
        """Release an open transfer, after its writer has stopped if the profile requires it."""
        request.gave_up_us = now_us
        if self._profile.abort_in_transfer == "defer" and not self._is_writer_quiet(request):
            request.decode_state = DecodeState.DEFERRED
            request.transfer_failed = state is DecodeState.FAILED
            del self.open[request.ordinal]
            self.deferred[request.ordinal] = request
            if self._profile.metadata_slot_freed == "at-once":
                self._free_slot(request)
            self._watcher.state_entered(request, "deferred")
            self._link.timeouts.awaits_writer(request)
        else:
            self._release(request, state, now_us)
        if self._profile.decode_tells_prefill:
            self._link.notify_prefill(request)

    def release_deferred(self, now_us: int) -> None:
        """Release transfers that were given up and are no longer written."""
        for request in list(self.deferred.values()):
            if self._is_writer_quiet(request):
                state = DecodeState.FAILED if request.transfer_failed else DecodeState.ABORTED
                self._release(request, state, now_us)

    def _is_writer_quiet(self, request: Request) -> bool:
        """Whether this side has been notified that the request's pages are no longer written."""
        was_completed = request.receipt is not None and request.receipt.is_done
        return was_completed or request.sender_stopped

    def _release(self, request: Request, state: DecodeState, now_us: int) -> None:
        self._close(request)
        self._pool.account.live_pages += self._pool.pages_for(request.kv_tokens)
        self._memory.release([request])
        self._rank.end(request, state, now_us)

    def _close(self, request: Request) -> None:
        """Remove a request from this queue; the caller handles its pages."""
        self.open.pop(request.ordinal, None)
        self.deferred.pop(request.ordinal, None)
        if self._by_room.get(request.room) is request:
            del self._by_room[request.room]
        self._free_slot(request)
        if self._pool.account.is_stalled(request.ordinal):
            self._pool.account.resume(request.ordinal)
        self._pool.account.transfer_pages -= self._pool.pages_for(request.kv_tokens)

    def _free_slot(self, request: Request) -> None:
        if request.metadata_slot >= 0:
            self._memory.metadata_slots.free(request.metadata_slot)
            request.metadata_slot = -1
