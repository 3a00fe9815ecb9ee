"""One decode DP rank: its queues, its running batch and its pool.

    prealloc -> transfer -> waiting -> running -> finished

An iteration runs in SGLang's order (0.4.6.post4, `disaggregation/decode.py`,
event_loop_normal_disagg_decode): receive, preallocate, poll transfers, then either build a prebuilt
batch (whose iteration decodes nothing on this rank) or decode one step of the running batch. Pages
for decoded tokens are allocated lazily, for all iterations since the rank was last processed, in
the order of single steps.
"""

from __future__ import annotations

from collections import deque

from replay.pair.decode_memory import DecodeMemory
from replay.pair.ports import Link, Watcher
from replay.pair.request import DecodeState, Request, decode_steps
from replay.pair.running_batch import NEVER, RunningBatch
from replay.pair.transfer_queue import TransferQueue
from replay.pool.pool import KvPool
from replay.profiles.profile import EngineProfile


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
        self.memory = DecodeMemory(profile, pool)
        self.transfers = TransferQueue(profile, self.memory, link, watcher, self)
        self.waiting: deque[Request] = deque()
        self.running = RunningBatch(pool, profile.retracts_first)
        self.retracted: deque[Request] = deque()
        self.needs_attention = False
        #: Requests that can never leave prealloc, because their room has an earlier transfer's status.
        self._wedged: list[Request] = []
        self._aborts: list[Request] = []
        self._rejected: list[Request] = []
        self._dropped: list[Request] = []
        #: Decode steps that went to a prebuilt batch instead of this rank's running batch, and
        #: whether the next one does.
        self.skipped_steps = 0
        self.is_resting = False
        #: The instance's step at which this rank must be processed, if nothing arrives before.
        self.interest_step = NEVER
        self._every_step = every_step
        self._steps_audited = 0

    # Events from outside, between iterations.

    def arrive(self, request: Request) -> None:
        """Accept a new request, which is processed in the next iteration."""
        request.decode_state = DecodeState.PREALLOC
        self.prealloc.append(request)
        self.needs_attention = True
        self.watcher.state_entered(request, "prealloc")

    def abort(self, request: Request) -> None:
        """Accept a client's abort, which is processed in the next iteration."""
        self._aborts.append(request)
        self.needs_attention = True

    def reject(self, request: Request) -> None:
        """Accept a request that can never fit, which is answered in the next iteration."""
        self._rejected.append(request)
        self.needs_attention = True

    def fail(self, request: Request) -> None:
        """Give up a request that its sender has dropped, or that has waited too long."""
        if request.decode_state is DecodeState.PREALLOC:
            self._dropped.append(request)
            self.needs_attention = True
        else:
            self.transfers.fail(request)

    def writer_stopped(self, request: Request) -> None:
        """Accept the sender's notice that it no longer writes this request's pages."""
        if self.profile.deferred_until == "acknowledged":
            self.deferral_ended(request)

    def deferral_ended(self, request: Request) -> None:
        """Perform a deferred release."""
        request.sender_stopped = True
        if request.ordinal in self.transfers.deferred:
            self.needs_attention = True

    # One iteration.

    def iterate(self, now_us: int, steps: int) -> None:
        """Run the bookkeeping of one iteration; the instance has run `steps` decode steps so far."""
        self.needs_attention = False
        self.running.advance(steps - self.skipped_steps)
        self._finish(now_us)
        if self._rejected:
            self._answer_rejected(now_us)
        if self._aborts:
            self._receive_aborts(now_us)
        if self._dropped:
            self._end_dropped(now_us)
        self._resume_retracted()
        is_exhausted = not self._preallocate(now_us)
        free_at_admission, admitted = self.memory.free_resources, self._admitted()
        if not (is_exhausted and self.profile.cleanup_at_exhaustion == "starved"):
            if self.transfers.deferred:
                self.transfers.release_deferred(now_us)
            self.waiting.extend(self.transfers.poll(now_us))
        self._start_waiting(now_us)
        self._retract_until_it_fits()
        released = self.memory.free_resources > free_at_admission or self._admitted() < admitted
        self.interest_step = self._next_interest(steps, released)
        self.watcher.accounting_changed(self, steps - self._steps_audited)
        self._steps_audited = steps

    def _next_interest(self, steps: int, released: bool) -> int:
        """Return the instance's step at which this rank must be processed without an arrival."""
        if released and (self.prealloc or self.retracted):
            # A release after this iteration's admission may admit the next request.
            return steps + 1
        if self.waiting and len(self.running) < self.profile.max_running_requests:
            # The running requests were just retracted: the waiting requests are batched next.
            return steps + 1
        if not len(self.running):
            return NEVER
        if self._every_step:
            return steps + 1
        return self.running.next_step_of_interest() + self.skipped_steps

    @property
    def is_hung(self) -> bool:
        """Whether the rank, and with it the whole instance, hangs in a collective forever."""
        return self.transfers.is_hung

    def is_gate_open(self) -> bool:
        """Whether the queues that gate the engine's idle check are empty."""
        queues = {
            "prealloc": self.prealloc or self._wedged,
            "transfer": self.transfers.open,
            "waiting": self.waiting,
            "retracted": self.retracted,
            "deferred": self.transfers.deferred,
        }
        return not any(queues[name] for name in self.profile.decode_check_gate)

    # The running batch.

    def _finish(self, now_us: int) -> None:
        finished = self.running.take_finished()
        if not finished:
            return
        for request in finished:
            self.watcher.pages_read(request, self.pool.pages_for(request.kv_tokens))
        if self.profile.last_result_before_idle == "lost" and not (
            len(self.running) or self.waiting
        ):
            # The empty batch after this one overwrote it before its result was processed.
            for request in finished:
                self.pool.account.live_pages -= self.pool.pages_for(request.kv_tokens)
                self.forget(request, now_us)
            return
        self.memory.release(finished)
        for request in finished:
            self.end(request, DecodeState.FINISHED, now_us)

    def _retract_until_it_fits(self) -> None:
        """Retract requests until the next step's pages fit; retracted requests resume from a backup."""
        while (victim := self.running.pick_victim()) is not None:
            self.running.remove(victim)
            self.memory.release([victim])
            if self.transfers.is_wedged(victim):
                # It goes back to prealloc, where its room already says success.
                victim.decode_state = DecodeState.PREALLOC
                self._wedged.append(victim)
                continue
            victim.decode_state = DecodeState.RETRACTED
            self.retracted.append(victim)
            self.watcher.state_entered(victim, "retracted")

    def _resume_retracted(self) -> None:
        """Resume retracted requests before new requests are admitted."""
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
            self.pool.storage.write(
                pages, request.content[: len(pages)] ^ request.tag, request.writer
            )
            self.pool.account.live_pages += len(pages)
            request.decode_state = DecodeState.WAITING
            self.waiting.append(request)
            self.watcher.state_entered(request, "waiting")

    def _start_waiting(self, now_us: int) -> None:
        """Add waiting requests to the running batch, at the cost of one iteration.

        The engine makes a prebuilt batch of them, which in some versions runs in place of the
        running batch for one iteration and is merged into it in the next.
        """
        room = self.profile.max_running_requests - len(self.running)
        starts = bool(self.waiting) and room > 0
        self.is_resting = starts and self.profile.prebuilt_takes_iteration
        while self.waiting and room > 0:
            room -= 1
            request = self.waiting.popleft()
            if request.running_us < 0:
                request.running_us = now_us
                request.steps_left = decode_steps(
                    request.output_tokens, self.profile.overlap_schedule
                )
            self.watcher.pages_read(request, self.pool.pages_for(request.kv_tokens))
            self.running.add(request)
            self.watcher.state_entered(request, "running")
        self.skipped_steps += self.is_resting

    # Preallocation.

    def _admitted(self) -> int:
        """Requests that hold pages and can continue to decode."""
        return len(self.running) + len(self.transfers) + len(self.waiting)

    def _preallocate(self, now_us: int) -> bool:
        """Admit requests in order while pages and slots are left; return False if a request must wait."""
        while self.prealloc:
            request = self.prealloc[0]
            if self.transfers.is_wedged(request):
                self._wedged.append(self.prealloc.popleft())
                continue
            if self.memory.free_request_slots <= 0 or not self.memory.metadata_slots.free_count:
                return False
            own_reserve = self.profile.reserved_decode_tokens
            if not self.memory.fits(request.input_tokens, own_reserve, self._admitted()):
                return False
            self.prealloc.popleft()
            request.kv_tokens = request.input_tokens
            self.transfers.admit(request, now_us)
        return True

    def _leave_prealloc(self, request: Request) -> None:
        (self._wedged if request in self._wedged else self.prealloc).remove(request)

    # Endings.

    def end(self, request: Request, state: DecodeState, now_us: int) -> None:
        """End a request."""
        request.decode_state = state
        request.ended_us = now_us
        self.watcher.request_ended(request)

    def _receive_aborts(self, now_us: int) -> None:
        for request in self._aborts:
            self._abort(request, now_us)
        self._aborts.clear()

    def _abort(self, request: Request, now_us: int) -> None:
        """Handle an abort as this engine does in the request's queue."""
        profile, state = self.profile, request.decode_state
        if state is DecodeState.ABSENT:
            self._end_untransferred(request, now_us)
        elif state is DecodeState.PREALLOC and profile.abort_in_prealloc == "release":
            self._leave_prealloc(request)
            self._end_untransferred(request, now_us)
        elif state is DecodeState.TRANSFER and profile.abort_in_transfer != "ignore":
            self.transfers.give_up(request, DecodeState.ABORTED, now_us)
        elif state is DecodeState.WAITING:
            self.waiting.remove(request)
            if profile.abort_in_waiting == "leak":
                self.pool.account.live_pages -= self.pool.pages_for(request.kv_tokens)
                self.forget(request, now_us)
            else:
                self.memory.release([request])
                self.end(request, DecodeState.ABORTED, now_us)
        elif state is DecodeState.RETRACTED and profile.abort_in_retracted == "release":
            self.retracted.remove(request)
            self.end(request, DecodeState.ABORTED, now_us)
        elif state is DecodeState.RUNNING:
            self.running.remove(request)
            self.memory.release([request])
            self.end(request, DecodeState.ABORTED, now_us)

    def _end_dropped(self, now_us: int) -> None:
        """Give up requests that prefill dropped before decode had pages for them."""
        for request in self._dropped:
            if request.decode_state is DecodeState.PREALLOC:
                self._leave_prealloc(request)
                self.end(request, DecodeState.FAILED, now_us)
        self._dropped.clear()

    def _end_untransferred(self, request: Request, now_us: int) -> None:
        """End a request that holds no resources here yet; its sender may still wait for it."""
        self.end(request, DecodeState.ABORTED, now_us)
        if self.profile.decode_tells_prefill:
            self.link.notify_prefill(request)
        else:
            self.link.never_asked_for(request)

    def _answer_rejected(self, now_us: int) -> None:
        """Answer requests that can never fit; depending on the profile, leak their placeholder token."""
        for request in self._rejected:
            leaks = self.profile.rejected_request == "leak" and self.memory.free_request_slots > 0
            if leaks and self.pool.acquire(request.ordinal, 1) is not None:
                self.memory.free_request_slots -= 1
                self.forget(request, now_us)
            else:
                self.end(request, DecodeState.ABORTED, now_us)
        self._rejected.clear()

    def forget(self, request: Request, now_us: int) -> None:
        """Drop a request without releasing its resources, like a leaking engine."""
        self.pool.account.depart(request.ordinal, self.pool.held_pages.get(request.ordinal, 0))
        self.end(request, DecodeState.LOST, now_us)
