"""One prefill DP rank: bootstrap, waiting, chunked prefill batches and the in-flight queue.

    bootstrap --decode has pages--> waiting --> running (chunks) --> inflight --acknowledged--> done

Pages are taken chunk by chunk; a finished prompt's whole cache units go to the prefix cache, locked
until every sender is acknowledged. Source of the behaviour: sglang 0.4.6.post4,
`disaggregation/prefill.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from replay.engine.cache import ChunkCache, RadixCache
from replay.engine.ports import Link, Watcher
from replay.engine.request import PrefillState, Request, TransferState
from replay.pool.pool import KvPool
from replay.pool.storage import ContentWriter
from replay.profile import EngineProfile


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
        self.bootstrap: dict[int, Request] = {}
        self.waiting: deque[Request] = deque()
        self.inflight: dict[int, Request] = {}
        #: The chunks of the batch that is running, as (request, tokens).
        self.batch: list[tuple[Request, int]] = []
        self.due: list[Request] = []
        self._chunked: Request | None = None
        self._bootstrapped: list[Request] = []
        self._aborts: list[Request] = []
        self._to_release: list[Request] = []
        self._to_release_again: list[Request] = []
        self._block_size = block_size
        self._content = ContentWriter(pool.page_size, block_size)
        self._died_of: set[int] = set()

    # What arrives from outside, between iterations.

    def arrive(self, request: Request) -> None:
        """Take a new request in; it waits for decode to have pages for it."""
        self.bootstrap[request.ordinal] = request

    def metadata_arrived(self, request: Request) -> None:
        """Decode has pages for the request and says where."""
        self._bootstrapped.append(request)

    def abort(self, request: Request) -> None:
        """Take a client's abort, or decode's notice that it gave up; seen at the next iteration."""
        self._aborts.append(request)

    def acknowledge(self, request: Request, sender: int, failed: bool) -> str:
        """Take one acknowledgement in and say what became of it."""
        if request.prefill_state is not PrefillState.INFLIGHT:
            return self._acknowledge_again(request)
        if failed:
            self._acknowledgement_failed(request)
            return "accepted"
        if sender not in request.awaiting_acknowledgements:
            return self._acknowledge_again(request)
        request.awaiting_acknowledgements.discard(sender)
        if not request.awaiting_acknowledgements:
            self._to_release.append(request)
        return "accepted"

    def come_due(self, request: Request) -> None:
        """Every acknowledgement should be here by now; the next poll will tell."""
        self.due.append(request)

    def give_up(self, request: Request) -> None:
        """Release a request whose acknowledgement never came (a timeout)."""
        if request.prefill_state is PrefillState.INFLIGHT:
            request.awaiting_acknowledgements.clear()
            self._to_release.append(request)

    def _acknowledge_again(self, request: Request) -> str:
        if self.profile.duplicate_acknowledgement == "free-again" and (
            request.prefill_state in (PrefillState.INFLIGHT, PrefillState.DONE)
        ):
            self._to_release_again.append(request)
            return "accepted again"
        return "ignored: already counted"

    def _acknowledgement_failed(self, request: Request) -> None:
        if self.profile.failed_transfer == "release":
            self._to_release.append(request)
            return
        # The exception leaves the queue as it was: the request will never be released.
        self.due.append(request)
        if request.ordinal not in self._died_of:
            self._died_of.add(request.ordinal)
            self.watcher.engine_died(self, "Transferring failed")

    # One iteration.

    def iterate(self, now_us: int) -> None:
        """Conclude the running batch, look at every queue and form the next batch."""
        self._conclude_batch()
        self._admit_bootstrapped()
        self._receive_aborts()
        self._release_acknowledged()
        self._form_batch(now_us)
        self.watcher.rank_changed(self, 1)

    def batch_tokens(self) -> int:
        """Prompt tokens that the running batch computes."""
        return sum(tokens for _, tokens in self.batch)

    def is_gate_open(self) -> bool:
        """Whether the queues that gate the engine's idle check are empty."""
        queues = {
            "bootstrap": self.bootstrap,
            "waiting": self.waiting,
            "inflight": self.inflight,
        }
        return not any(queues[name] for name in self.profile.prefill_check_gate)

    # Batches.

    def _form_batch(self, now_us: int) -> None:
        budget = self.profile.chunked_prefill_tokens
        if self._chunked is not None:
            budget -= self._add_chunk(self._chunked, budget)
        while self.waiting and budget > 0 and self._chunked is None:
            request = self.waiting[0]
            if not self._start(request, now_us):
                return
            self.waiting.popleft()
            budget -= self._add_chunk(request, budget)

    def _start(self, request: Request, now_us: int) -> bool:
        """Match the prompt's prefix and lock it; False when the rest does not fit the pool."""
        cached_tokens = 0
        if isinstance(self.cache, RadixCache) and request.block_hashes is not None:
            # At least one token must be computed, or there would be no first output token.
            usable = (request.input_tokens - 1) // self._unit_tokens(self.cache)
            node = self.cache.match(self._keys(request)[:usable])
            self.cache.lock(node)
            request.cache_node = node
            request.cached_pages = self.cache.prefix_units(node) * self.cache.unit_pages
            cached_tokens = request.cached_pages * self.pool.page_size
        needed = self.pool.pages_for(request.input_tokens) - request.cached_pages
        if needed > self.pool.available_pages + self.cache.reclaimable_pages:
            if isinstance(self.cache, RadixCache) and request.cache_node is not None:
                self.cache.unlock(request.cache_node)
                request.cache_node = None
            return False
        request.prefill_state = PrefillState.RUNNING
        request.prefill_start_us = now_us
        request.prefill_row = self.pool.table.open_row()
        request.prefill_pages = request.cached_pages
        request.prefilled_tokens = cached_tokens
        self._write_cached_pages(request)
        self._make_content(request)
        return True

    def _add_chunk(self, request: Request, budget: int) -> int:
        """Take pages for the next chunk of a prompt and put it into the batch."""
        tokens = min(budget, request.input_tokens - request.prefilled_tokens)
        target = self.pool.pages_for(request.prefilled_tokens + tokens)
        count = target - request.prefill_pages
        if count > self.pool.available_pages:
            self.cache.evict(count - self.pool.available_pages)
        if count:
            held = request.prefilled_tokens
            pages = self.pool.extend(request.ordinal, held, held + tokens)
            if pages is None:
                # The prefix that admission counted on was locked meanwhile: wait for a release.
                self._chunked = request
                return budget
            self.pool.table.write(request.prefill_row, request.prefill_pages, pages)
            assert request.content is not None
            self.pool.storage.write(pages, request.content[request.prefill_pages : target])
            self.pool.account.live_pages += count
        request.prefill_pages = target
        request.prefilled_tokens += tokens
        self._chunked = request if request.prefilled_tokens < request.input_tokens else None
        self.batch.append((request, tokens))
        return tokens

    def _conclude_batch(self) -> None:
        """Send off every prompt whose last chunk has been computed."""
        for request, _ in self.batch:
            if request.prefilled_tokens < request.input_tokens or request is self._chunked:
                continue
            self._cache_prompt(request)
            request.prefill_state = PrefillState.INFLIGHT
            self.inflight[request.ordinal] = request
            self._move_private_pages(request, to_transfer=True)
            if request.cancelled:
                request.awaiting_acknowledgements.clear()
                self._to_release.append(request)
                continue
            self.link.start_transfer(request)
        self.batch = []

    def _cache_prompt(self, request: Request) -> None:
        """Hand the prompt's whole cache units over to the tree and keep them locked."""
        if not isinstance(self.cache, RadixCache) or request.block_hashes is None:
            return
        keys = self._keys(request)
        before, request.cached_pages = request.cached_pages, len(keys) * self.cache.unit_pages
        row = self.pool.table.read(request.prefill_row, 0, request.cached_pages)
        held_before = self.pool.held_pages.get(request.ordinal, 0)
        node = self.cache.insert(request.ordinal, keys, row)
        given = held_before - self.pool.held_pages.get(request.ordinal, 0)
        self.cache.lock(node)
        if request.cache_node is not None:
            self.cache.unlock(request.cache_node)
        request.cache_node = node
        duplicates = request.cached_pages - before - given
        if duplicates:
            # Another request cached these units meanwhile: ours are freed, the row reads the tree's.
            mine = self.pool.arrays.copy(row[before : before + duplicates])
            self.pool.release(request.ordinal, mine)
            self._write_cached_pages(request)
        self.pool.account.live_pages -= request.cached_pages - before

    # Endings.

    def _admit_bootstrapped(self) -> None:
        for request in self._bootstrapped:
            if self.bootstrap.pop(request.ordinal, None) is not None:
                request.prefill_state = PrefillState.WAITING
                self.waiting.append(request)
        self._bootstrapped.clear()

    def _release_acknowledged(self) -> None:
        for request in self._to_release:
            if request.prefill_state is PrefillState.INFLIGHT:
                self._release(request)
        self._to_release.clear()
        for request in self._to_release_again:
            self._release_again(request)
        self._to_release_again.clear()
        for request in self.due:
            self.stall(request)
        self.due.clear()

    def stall(self, request: Request) -> None:
        """Note that acknowledgements are overdue, unless they are no longer waited for."""
        if request.prefill_state is not PrefillState.INFLIGHT:
            return
        account = self.pool.account
        if account.is_stalled(request.ordinal):
            return
        account.stall(request.ordinal, self._private_pages(request))
        if isinstance(self.cache, RadixCache) and request.cache_node is not None:
            self.cache.stall(request.ordinal, request.cache_node)
        self.watcher.waiting_for_release(request, "prefill")

    def _release(self, request: Request) -> None:
        """Give back what an acknowledged request held: its private pages, locks and row."""
        account = self.pool.account
        if account.is_stalled(request.ordinal):
            account.resume(request.ordinal)
            if isinstance(self.cache, RadixCache) and request.cache_node is not None:
                self.cache.resume(request.ordinal, request.cache_node)
        del self.inflight[request.ordinal]
        account.transfer_pages -= self._private_pages(request)
        pages = self.pool.table.read(
            request.prefill_row, request.cached_pages, request.prefill_pages
        )
        if self.profile.duplicate_acknowledgement == "free-again":
            request.released_pages = self.pool.arrays.copy(pages)
        self.pool.release(request.ordinal, pages)
        self._unlock(request)
        self.pool.table.close_row(request.prefill_row)
        was_cancelled = request.cancelled or request.transfer_state is TransferState.NOT_STARTED
        self._end(request, PrefillState.DROPPED if was_cancelled else PrefillState.DONE)

    def _release_again(self, request: Request) -> None:
        """Run the release once more, as a pair without a guard does."""
        if request.released_pages is not None:
            self.watcher.released_again(request)
            self.pool.release(request.ordinal, request.released_pages)
            self._unlock(request)

    def _unlock(self, request: Request) -> None:
        if isinstance(self.cache, RadixCache) and request.cache_node is not None:
            self.cache.unlock(request.cache_node)

    def _receive_aborts(self) -> None:
        for request in self._aborts:
            self._abort(request)
        self._aborts.clear()

    def _abort(self, request: Request) -> None:
        """Do what this engine does to an aborted request in the queue it is in."""
        profile, state = self.profile, request.prefill_state
        if state is PrefillState.BOOTSTRAP and profile.abort_in_bootstrap == "release":
            del self.bootstrap[request.ordinal]
            self._end(request, PrefillState.DROPPED)
        elif state is PrefillState.WAITING and profile.abort_in_prefill_waiting == "release":
            self.waiting.remove(request)
            self._end(request, PrefillState.DROPPED)
        elif state is PrefillState.RUNNING and profile.abort_in_flight != "ignore":
            request.cancelled = True
        elif state is PrefillState.INFLIGHT and profile.abort_in_flight == "release":
            request.cancelled = True
            self._to_release.append(request)

    def _end(self, request: Request, state: PrefillState) -> None:
        request.prefill_state = state
        if state is PrefillState.DROPPED and request.transfer_state is TransferState.NOT_STARTED:
            self.link.notify_decode(request)
        self.watcher.request_ended(request)

    # Pages and keys.

    def _private_pages(self, request: Request) -> int:
        return request.prefill_pages - request.cached_pages

    def _move_private_pages(self, request: Request, to_transfer: bool) -> None:
        count = self._private_pages(request) * (1 if to_transfer else -1)
        self.pool.account.live_pages -= count
        self.pool.account.transfer_pages += count

    def _write_cached_pages(self, request: Request) -> None:
        """Put the tree's pages at the head of the request's row."""
        if not isinstance(self.cache, RadixCache) or request.cache_node is None:
            return
        at = 0
        for node in self.cache.path(request.cache_node):
            assert node.pages is not None
            self.pool.table.write(request.prefill_row, at, node.pages)
            at += len(node.pages)

    def _make_content(self, request: Request) -> None:
        generated = max(1, request.output_tokens - 1)
        words = self._content.request_content(
            request.block_hashes,
            self.pool.pages_for(request.input_tokens),
            self.pool.pages_for(request.input_tokens + generated),
            request.ordinal,
        )
        request.content = self.pool.arrays.upload(words)

    def _unit_tokens(self, cache: RadixCache) -> int:
        return cache.unit_pages * self.pool.page_size

    def _keys(self, request: Request) -> Sequence[int]:
        """Identity of each whole cache unit of the prompt: the last block hash in it."""
        if request.cache_keys is not None:
            return request.cache_keys
        assert isinstance(self.cache, RadixCache)
        assert request.block_hashes is not None
        unit_tokens = self._unit_tokens(self.cache)
        blocks_per_unit = unit_tokens // self._block_size
        units = request.input_tokens // unit_tokens
        keys: list[int] = request.block_hashes[
            blocks_per_unit - 1 : units * blocks_per_unit : blocks_per_unit
        ].tolist()
        request.cache_keys = keys
        return keys
