"""One prefill DP rank: bootstrap, waiting, chunked prefill batches and the in-flight queue.

    bootstrap --decode has pages--> waiting --> running (chunks) --> inflight --acknowledged--> done

Pages are taken chunk by chunk and each chunk is sent when it is computed; a finished prompt's whole
cache units go to the prefix cache, locked until every sender is acknowledged. Where decode
allocates afterwards, requests skip bootstrap, and a finished prompt is held in flight until decode
pulls it. Source of the behaviour: sglang 0.4.6.post4, `disaggregation/prefill.py`.
"""

from __future__ import annotations

from collections import deque

from replay.pair.cache import ChunkCache, RadixCache
from replay.pair.inflight_queue import InFlightQueue
from replay.pair.metadata_slots import MetadataSlots
from replay.pair.ports import Link, Watcher
from replay.pair.prompt_memory import PromptMemory
from replay.pair.request import PrefillState, Request, TransferState
from replay.pool.arrays import Array
from replay.pool.pool import KvPool
from replay.profiles.profile import EngineProfile


class PrefillRank:
    """Scheduler, prefix cache and pool of one prefill DP rank."""

    def __init__(
        self,
        name: str,
        instance: int,
        dp_rank: int,
        profile: EngineProfile,
        pool: KvPool,
        cache: RadixCache | ChunkCache,
        block_size: int,
        link: Link,
        watcher: Watcher,
    ) -> None:
        self.name = name
        self.instance = instance
        self.dp_rank = dp_rank
        self.profile = profile
        self.pool = pool
        self.cache = cache
        self.link = link
        self.watcher = watcher
        self.memory = PromptMemory(profile, pool, cache, block_size)
        self.slots = MetadataSlots(profile.prefill_metadata_slots)
        self.bootstrap: dict[int, Request] = {}
        self.waiting: deque[Request] = deque()
        self.inflight = InFlightQueue(profile, self.memory, link, watcher, self)
        #: The chunks of the batch that is running, as (request, tokens).
        self.batch: list[tuple[Request, int]] = []
        self._chunked: Request | None = None
        self._slot_of: dict[int, int] = {}
        self._bootstrapped: deque[Request] = deque()
        self._aborts: list[Request] = []
        self._notices: list[Request] = []
        self._expired: list[Request] = []

    # Events from outside, between iterations.

    def arrive(self, request: Request) -> None:
        """Accept a new request; if decode allocates first, it waits for decode's pages."""
        self.bootstrap[request.ordinal] = request
        self.watcher.state_entered(request, "bootstrap")
        if self.profile.decode_allocates == "after-prefill":
            self._bootstrapped.append(request)
        else:
            self.link.timeouts.awaits_decode_pages(request)

    def metadata_arrived(self, request: Request) -> None:
        """Accept decode's notice of the pages it has allocated for the request."""
        if self.profile.decode_allocates == "before-prefill":
            self._bootstrapped.append(request)
        elif request.prefill_state is PrefillState.INFLIGHT:
            self._send_off(request)
        else:
            self.link.notify_decode(request)

    def abort(self, request: Request) -> None:
        """Accept a client's abort, which is processed in the next iteration."""
        self._aborts.append(request)

    def peer_gave_up(self, request: Request) -> None:
        """Accept decode's notice that it has given up the request."""
        self._notices.append(request)

    def fail(self, request: Request) -> None:
        """Give up a request that has waited too long for decode's pages."""
        self._expired.append(request)

    def chunks_landed(self, request: Request) -> bool:
        """All chunks in transfer have landed; return whether this rank must process the request."""
        if request.cancelled and request.prefill_state is PrefillState.INFLIGHT:
            self.inflight.give_up(request)
            return True
        if request.peer_gave_up and (
            request.prefill_ended or request.transfer_state is TransferState.LANDED
        ):
            self.link.notify_decode(request)
        return False

    # What the wires and observers ask for.

    def prompt_pages(self, request: Request, start: int, end: int) -> Array:
        """Return a copy of the prompt's pages at positions start .. end, int64 [end - start]."""
        return self.memory.prompt_pages(request, start, end)

    def make_content(self, request: Request) -> None:
        """Compute the expected content of every page of the request."""
        self.memory.make_content(request)

    # One iteration.

    def iterate(self, now_us: int) -> None:
        """Finish the running batch, process every queue and form the next batch."""
        self._conclude_batch()
        self._admit_bootstrapped()
        self._receive_aborts()
        self._give_up_bootstraps()
        self.inflight.settle(now_us)
        if self._bootstrapped:
            # The engine's next turn would find the slots that were just given back.
            self._admit_bootstrapped()
        self._form_batch(now_us)
        self.watcher.accounting_changed(self, 1)

    def batch_tokens(self) -> int:
        """Prompt tokens computed by the running batch."""
        return sum(tokens for _, tokens in self.batch)

    def is_gate_open(self) -> bool:
        """Whether the queues that gate the engine's idle check are empty."""
        queues = {
            "bootstrap": self.bootstrap,
            "waiting": self.waiting,
            "inflight": self.inflight.open,
        }
        return not any(queues[name] for name in self.profile.prefill_check_gate)

    # Batches.

    def _form_batch(self, now_us: int) -> None:
        budget = self.profile.chunked_prefill_tokens
        if self._chunked is not None:
            budget -= self._add_chunk(self._chunked, budget)
        while self.waiting and budget > 0 and self._chunked is None:
            request = self.waiting[0]
            if not self.memory.start(request):
                return
            request.prefill_state = PrefillState.RUNNING
            request.prefill_start_us = now_us
            self.watcher.state_entered(request, "prefilling")
            self.waiting.popleft()
            budget -= self._add_chunk(request, budget)

    def _add_chunk(self, request: Request, budget: int) -> int:
        """Allocate pages for the next chunk of a prompt and add it to the batch."""
        tokens = min(budget, request.input_tokens - request.prefilled_tokens)
        if not self.memory.extend(request, tokens):
            # The prefix expected at admission was locked in the meantime: wait for a release.
            self._chunked = request
            return budget
        self._chunked = request if request.prefilled_tokens < request.input_tokens else None
        self.batch.append((request, tokens))
        return tokens

    def _conclude_batch(self) -> None:
        """Send the computed chunks; complete prompts are in flight from now on."""
        batch, self.batch = self.batch, []
        for request, _ in batch:
            if request is not self._chunked:
                self.memory.hand_to_cache(request)
                self._hold(request)
                self.link.timeouts.holds_prompt(request)
                if self.profile.decode_allocates == "after-prefill":
                    self.link.offer(request)
                else:
                    self._send_off(request)
            elif self.profile.sends_chunks and self.profile.decode_allocates == "before-prefill":
                self._send_pages(request, request.prefilled_tokens // self.pool.page_size)

    def _stop_computing(self, request: Request) -> None:
        """Give up a partially computed prompt; chunks already sent may still be read."""
        self._chunked, request.cancelled = None, True
        self._hold(request)
        if not request.chunks_moving or self.profile.abort_in_prefill_running == "release":
            self.inflight.give_up(request)

    def _hold(self, request: Request) -> None:
        self.inflight.put(request)
        self.watcher.state_entered(request, "in-flight")

    def _send_off(self, request: Request) -> None:
        """Send the rest of a computed prompt."""
        self._send_pages(request, self.pool.pages_for(request.input_tokens), is_last=True)
        if self.profile.source_freed == "submitted":
            self.inflight.give_up(request)

    def _send_pages(self, request: Request, end: int, is_last: bool = False) -> None:
        """Send the unsent pages of the prompt up to position `end`."""
        start, request.sent_pages = request.sent_pages, end
        if end > start or is_last:
            pages = self.prompt_pages(request, start, end)
            self.link.send_chunk(request, start, pages, is_last)

    # Endings.

    def _admit_bootstrapped(self) -> None:
        while self._bootstrapped and self.slots.free_count:
            request = self._bootstrapped.popleft()
            if self.bootstrap.pop(request.ordinal, None) is not None:
                self._slot_of[request.ordinal] = self.slots.take(request.writer)
                request.prefill_state = PrefillState.WAITING
                self.waiting.append(request)
                self.watcher.state_entered(request, "prefill-waiting")

    def _give_up_bootstraps(self) -> None:
        for request in self._expired:
            if request.prefill_state is PrefillState.BOOTSTRAP:
                del self.bootstrap[request.ordinal]
                self.end(request, PrefillState.DROPPED)
        self._expired.clear()

    def _receive_aborts(self) -> None:
        for request in self._aborts:
            self._abort(request)
        self._aborts.clear()
        for request in self._notices:
            self._receive_notice(request)
        self._notices.clear()

    def _receive_notice(self, request: Request) -> None:
        """Stop a request that decode has given up, and notify decode when its pages are no longer written."""
        is_early = request.prefill_state in (
            PrefillState.BOOTSTRAP,
            PrefillState.WAITING,
            PrefillState.RUNNING,
        )
        if is_early and self.profile.early_notice == "lost":
            return
        request.peer_gave_up = True
        self._abort(request)
        if (
            request.prefill_ended and not request.chunks_moving
        ) or request.transfer_state is TransferState.LANDED:
            self.link.notify_decode(request)

    def _abort(self, request: Request) -> None:
        """Handle an abort as this engine does in the request's queue."""
        profile, state = self.profile, request.prefill_state
        if state is PrefillState.BOOTSTRAP and profile.abort_in_bootstrap == "release":
            del self.bootstrap[request.ordinal]
            self.end(request, PrefillState.DROPPED)
        elif state is PrefillState.WAITING and profile.abort_in_prefill_waiting != "ignore":
            self.waiting.remove(request)
            if profile.abort_in_prefill_waiting == "leak-slot":
                del self._slot_of[request.ordinal]
            self.end(request, PrefillState.DROPPED)
        elif state is PrefillState.RUNNING and profile.abort_in_prefill_running != "ignore":
            # Between two batches only a prompt that lacks chunks is still running.
            self._stop_computing(request)
        elif state is PrefillState.INFLIGHT and profile.abort_in_flight != "ignore":
            is_read = request.transfer_state is not TransferState.NOT_STARTED
            if profile.abort_in_flight == "release" or not is_read:
                request.cancelled = True
                self.inflight.give_up(request)

    def end(self, request: Request, state: PrefillState) -> None:
        """End a request."""
        request.prefill_state = state
        slot = self._slot_of.pop(request.ordinal, None)
        if slot is not None:
            self.slots.free(slot)
        if state is PrefillState.DROPPED and not request.chunks_moving:
            self.link.notify_decode(request)
        self.watcher.request_ended(request)
