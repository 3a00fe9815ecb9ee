"""One decode DP rank: its queues, its running batch and its pool.

    prealloc -> transfer -> waiting -> running -> finished

An iteration runs in SGLang's order (0.4.6.post4, `disaggregation/decode.py`,
event_loop_normal_disagg_decode): receive, preallocate, poll transfers, then either build a prebuilt
batch (whose iteration decodes nothing on this rank) or decode one step of the running batch. Pages
for decoded tokens are taken lazily, for all iterations since the rank was last looked at, in the
order in which single steps would have taken them.
"""

from __future__ import annotations

from collections import deque

from replay.engine.decode_memory import DecodeMemory
from replay.engine.ports import Link, Watcher
from replay.engine.request import DecodeState, Request, TransferState
from replay.engine.running_batch import NEVER, RunningBatch
from replay.pool.pool import KvPool
from replay.profile import EngineProfile


class DecodeRank:
    """Scheduler and pool of one DP rank; `DecodeInstance` steps all ranks together."""

    def __init__(
        self,
        name: str,
        instance: int,
        dp_rank: int,
        profile: EngineProfile,
        pool: KvPool,
        link: Link,
        watcher: Watcher,
        every_step: bool = False,
    ) -> None:
        self.name = name
        self.instance = instance
        self.dp_rank = dp_rank
        self.profile = profile
        self.pool = pool
        self.link = link
        self.watcher = watcher
        self.prealloc: deque[Request] = deque()
        self.transfer: dict[int, Request] = {}
        self.waiting: deque[Request] = deque()
        self.running = RunningBatch(pool)
        self.retracted: deque[Request] = deque()
        self.deferred: dict[int, Request] = {}
        self.needs_attention = False
        self.memory = DecodeMemory(profile, pool)
        #: Requests whose completion changed since the last poll, and those that came due.
        self.concluded: list[Request] = []
        self.due: list[Request] = []
        self._aborts: list[Request] = []
        self._rejected: list[Request] = []
        #: Decode steps that went to a prebuilt batch instead of this rank's running batch, and
        #: whether the next one does.
        self.skipped_steps = 0
        self.is_resting = False
        #: The instance's step at which this rank must be looked at, if nothing arrives before.
        self.interest_step = NEVER
        self._every_step = every_step
        self._steps_audited = 0
        self._died_of: set[int] = set()

    # What arrives from outside, between iterations.

    def arrive(self, request: Request) -> None:
        """Take a new request in; it is seen at the next iteration."""
        self.prealloc.append(request)
        self.needs_attention = True

    def abort(self, request: Request) -> None:
        """Take a client's abort in; it is seen at the next iteration."""
        self._aborts.append(request)
        self.needs_attention = True

    def reject(self, request: Request) -> None:
        """Take a request in that can never fit; it is answered at the next iteration."""
        self._rejected.append(request)
        self.needs_attention = True

    def complete(self, request: Request, sender: int, receiver: int, failed: bool) -> str:
        """Take one completion event in and say what became of it."""
        if request.decode_state is not DecodeState.TRANSFER:
            return "ignored: request had moved on"
        if failed:
            request.transfer_failed = True
        elif (sender, receiver) in request.awaiting_completions:
            request.awaiting_completions.discard((sender, receiver))
        else:
            return "ignored: already counted"
        if failed or not request.awaiting_completions:
            self.concluded.append(request)
            self.needs_attention = True
        return "accepted"

    def come_due(self, request: Request) -> None:
        """Every completion of the request should be here by now; the next poll will tell."""
        self.due.append(request)
        self.needs_attention = True

    def writer_quiet(self, request: Request) -> None:
        """Nobody writes this request's pages any more: a deferred release can go ahead."""
        if request.ordinal in self.deferred:
            self.needs_attention = True

    def fail(self, request: Request) -> None:
        """Conclude a transfer as failed from this side (a timeout, or the peer's notice)."""
        if request.decode_state is DecodeState.TRANSFER:
            request.transfer_failed = True
            self.concluded.append(request)
            self.needs_attention = True

    # One iteration.

    def iterate(self, now_us: int, steps: int) -> None:
        """Run one iteration's bookkeeping; the instance has run `steps` decode steps so far."""
        self.needs_attention = False
        self.running.advance(steps - self.skipped_steps)
        self._finish(now_us)
        if self._rejected or self._aborts or self.deferred:
            self._answer_rejected(now_us)
            self._receive_aborts(now_us)
            self._release_deferred(now_us)
        self._resume_retracted()
        self._preallocate(now_us)
        free_at_admission = self.memory.free_resources
        self._poll_transfers(now_us)
        self._start_waiting(now_us)
        self._retract_until_it_fits()
        released = self.memory.free_resources > free_at_admission
        self.interest_step = self._next_interest(steps, released)
        self.watcher.rank_changed(self, steps - self._steps_audited)
        self._steps_audited = steps

    def _next_interest(self, steps: int, released: bool) -> int:
        """The instance's step at which this rank has something to do on its own."""
        if released and (self.prealloc or self.retracted):
            # What was released after this iteration's admission may let the next request in.
            return steps + 1
        if not len(self.running):
            return NEVER
        if self._every_step:
            return steps + 1
        return self.running.next_step_of_interest() + self.skipped_steps

    def is_gate_open(self) -> bool:
        """Whether the queues that gate the engine's idle check are empty."""
        queues = {
            "prealloc": self.prealloc,
            "transfer": self.transfer,
            "waiting": self.waiting,
            "retracted": self.retracted,
            "deferred": self.deferred,
        }
        return not any(queues[name] for name in self.profile.decode_check_gate)

    # The running batch.

    def _finish(self, now_us: int) -> None:
        finished = self.running.take_finished()
        if not finished:
            return
        for request in finished:
            self.watcher.pages_read(request, self.pool.pages_for(request.kv_tokens))
        self.memory.release(finished)
        for request in finished:
            self._end(request, DecodeState.FINISHED, now_us)

    def _retract_until_it_fits(self) -> None:
        """Give up requests until the next step's pages fit; they come back from a backup."""
        while (victim := self.running.pick_victim()) is not None:
            self.running.remove(victim)
            self.memory.release([victim])
            victim.decode_state = DecodeState.RETRACTED
            self.retracted.append(victim)

    def _resume_retracted(self) -> None:
        """Bring retracted requests back before anything new is admitted."""
        while self.retracted and self.memory.free_request_slots > 0:
            request = self.retracted[0]
            # Its next token must fit as well, or it would be retracted again at once; more than
            # what it still has to decode it need not keep in reserve.
            own_reserve = max(1, min(self.profile.reserved_decode_tokens, request.steps_left))
            if not self.memory.fits(request.kv_tokens, own_reserve, self._admitted()):
                return
            self.retracted.popleft()
            request.start_attempt()
            pages = self.memory.take(request)
            assert request.content is not None
            self.pool.storage.write(pages, request.content[: len(pages)] ^ request.tag)
            self.pool.account.live_pages += len(pages)
            request.decode_state = DecodeState.WAITING
            self.waiting.append(request)

    def _start_waiting(self, now_us: int) -> None:
        """Put waiting requests into the running batch, at the price of one iteration.

        The engine makes a prebuilt batch of them, which runs in place of the running batch for one
        iteration and is merged into it in the next.
        """
        room = self.profile.max_running_requests - len(self.running)
        self.is_resting = bool(self.waiting) and room > 0
        while self.waiting and room > 0:
            room -= 1
            request = self.waiting.popleft()
            if request.running_us < 0:
                request.running_us = now_us
                request.steps_left = max(1, request.output_tokens - 1)
            self.watcher.pages_read(request, self.pool.pages_for(request.kv_tokens))
            self.running.add(request)
        self.skipped_steps += self.is_resting

    # Preallocation and transfers.

    def _admitted(self) -> int:
        """Requests that hold pages and may go on decoding."""
        return len(self.running) + len(self.transfer) + len(self.waiting)

    def _preallocate(self, now_us: int) -> None:
        while (
            self.prealloc
            and self.memory.free_request_slots > 0
            and self.memory.free_metadata_slots > 0
        ):
            request = self.prealloc[0]
            own_reserve = self.profile.reserved_decode_tokens
            if not self.memory.fits(request.input_tokens, own_reserve, self._admitted()):
                return
            self.prealloc.popleft()
            request.kv_tokens = request.input_tokens
            self.pool.account.transfer_pages += len(self.memory.take(request))
            self.memory.free_metadata_slots -= 1
            request.preallocated_us = now_us
            request.decode_state = DecodeState.TRANSFER
            self.transfer[request.ordinal] = request
            self.link.send_metadata(request)

    def _poll_transfers(self, now_us: int) -> None:
        for request in self.concluded:
            if request.decode_state is not DecodeState.TRANSFER:
                continue
            if request.transfer_failed:
                self._transfer_failed(request, now_us)
            elif not request.awaiting_completions:
                self._leave_transfer(request)
                self.pool.account.live_pages += self.pool.pages_for(request.kv_tokens)
                request.consumed_us = now_us
                request.decode_state = DecodeState.WAITING
                self.waiting.append(request)
        self.concluded.clear()
        for request in self.due:
            self.stall(request)
        self.due.clear()

    def stall(self, request: Request) -> None:
        """Note that the request's transfer is overdue, unless it is no longer waited for."""
        if request.decode_state is not DecodeState.TRANSFER:
            return
        account = self.pool.account
        if not account.is_stalled(request.ordinal):
            account.stall(request.ordinal, self.pool.pages_for(request.kv_tokens))
            self.watcher.waiting_for_release(request, "decode")

    def _leave_transfer(self, request: Request) -> None:
        """Take a request out of the transfer queue; its pages are the caller's to place."""
        del self.transfer[request.ordinal]
        self.memory.free_metadata_slots += 1
        if self.pool.account.is_stalled(request.ordinal):
            self.pool.account.resume(request.ordinal)
        self.pool.account.transfer_pages -= self.pool.pages_for(request.kv_tokens)

    def _transfer_failed(self, request: Request, now_us: int) -> None:
        if self.profile.failed_transfer == "raise":
            # The exception leaves the queue as it was, so every later poll would raise again.
            if request.ordinal not in self._died_of:
                self._died_of.add(request.ordinal)
                self.watcher.engine_died(self, "Transfer failed")
            self.stall(request)
            return
        self._leave_transfer(request)
        self._release_or_defer(request, DecodeState.FAILED, now_us)
        if self.profile.peer_is_notified:
            self.link.notify_prefill(request)

    def _release_or_defer(self, request: Request, state: DecodeState, now_us: int) -> None:
        """Release a request out of the transfer queue, waiting for its writer where told to."""
        self.pool.account.live_pages += self.pool.pages_for(request.kv_tokens)
        if self.profile.abort_in_transfer == "defer" and not _is_writer_quiet(request):
            request.decode_state = DecodeState.DEFERRED
            self.deferred[request.ordinal] = request
            request.transfer_failed = state is DecodeState.FAILED
            return
        self.memory.release([request])
        self._end(request, state, now_us)

    def _release_deferred(self, now_us: int) -> None:
        for ordinal, request in list(self.deferred.items()):
            if _is_writer_quiet(request):
                del self.deferred[ordinal]
                self.memory.release([request])
                state = DecodeState.FAILED if request.transfer_failed else DecodeState.ABORTED
                self._end(request, state, now_us)

    # Endings.

    def _end(self, request: Request, state: DecodeState, now_us: int) -> None:
        request.decode_state = state
        request.ended_us = now_us
        self.watcher.request_ended(request)

    def _receive_aborts(self, now_us: int) -> None:
        for request in self._aborts:
            self._abort(request, now_us)
        self._aborts.clear()

    def _abort(self, request: Request, now_us: int) -> None:
        """Do what this engine does to an aborted request in the queue it is in."""
        profile, state = self.profile, request.decode_state
        if state is DecodeState.PREALLOC and profile.abort_in_prealloc == "release":
            self.prealloc.remove(request)
            self._end(request, DecodeState.ABORTED, now_us)
        elif state is DecodeState.TRANSFER and profile.abort_in_transfer != "ignore":
            self._leave_transfer(request)
            self._release_or_defer(request, DecodeState.ABORTED, now_us)
            if profile.peer_is_notified:
                self.link.notify_prefill(request)
        elif state is DecodeState.WAITING:
            self.waiting.remove(request)
            if profile.abort_in_waiting == "leak":
                self.pool.account.live_pages -= self.pool.pages_for(request.kv_tokens)
                self._forget(request, now_us)
            else:
                self.memory.release([request])
                self._end(request, DecodeState.ABORTED, now_us)
        elif state is DecodeState.RETRACTED:
            self.retracted.remove(request)
            self._end(request, DecodeState.ABORTED, now_us)
        elif state is DecodeState.RUNNING:
            self.running.remove(request)
            self.memory.release([request])
            self._end(request, DecodeState.ABORTED, now_us)

    def _answer_rejected(self, now_us: int) -> None:
        """Answer requests that can never fit; where told to, leak what stands in for each."""
        for request in self._rejected:
            leaks = self.profile.rejected_request == "leak" and self.memory.free_request_slots > 0
            if leaks and self.pool.acquire(request.ordinal, 1) is not None:
                self.memory.free_request_slots -= 1
                self._forget(request, now_us)
            else:
                self._end(request, DecodeState.ABORTED, now_us)
        self._rejected.clear()

    def _forget(self, request: Request, now_us: int) -> None:
        """Drop a request without releasing what it holds, as a leaking engine does."""
        self.pool.account.depart(request.ordinal, self.pool.held_pages.get(request.ordinal, 0))
        self._end(request, DecodeState.LOST, now_us)


def _is_writer_quiet(request: Request) -> bool:
    """Whether nobody can write the request's decode pages any more."""
    if request.transfer_state is TransferState.NOT_STARTED:
        return request.prefill_ended
    return request.transfer_state is TransferState.LANDED
