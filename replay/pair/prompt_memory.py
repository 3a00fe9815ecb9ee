"""The resources of prompts on a prefill rank: pages, a row, and locks in the prefix cache.

The owners of the pages in a prompt's row:

    |<-- cached_pages -->|<------- private ------->|
    |  the tree's pages  |  this request's own     |      while it is computed
    |<------------ the tree's ------------->|<own->|      its whole units are handed over, locked
                                            |<own->|  +   spare: own copies of units that another
                                                           request cached meanwhile, still being
                                                           sent

Source of the behaviour: sglang 0.4.6.post4 `mem_cache/radix_cache.py` (cache_unfinished_req).
"""

from __future__ import annotations

from collections.abc import Sequence

from replay.pair.cache import ChunkCache, RadixCache
from replay.pair.request import Request, decode_steps
from replay.pool.arrays import Array
from replay.pool.pool import KvPool
from replay.pool.storage import ContentWriter
from replay.profiles.profile import EngineProfile


class PromptMemory:
    """Allocates and releases the resources of prompts, in the pool, the cache and the books together."""

    def __init__(
        self,
        profile: EngineProfile,
        pool: KvPool,
        cache: RadixCache | ChunkCache,
        block_size: int,
    ) -> None:
        self._profile = profile
        self._pool = pool
        self._cache = cache
        self._block_size = block_size
        self._content = ContentWriter(pool.page_size, block_size)

    def start(self, request: Request) -> bool:
        """Match the prompt's prefix and lock it; return False if the rest does not fit into the pool."""
        cached_tokens = 0
        cache = self._cache
        if isinstance(cache, RadixCache) and request.block_hashes is not None:
            # At least one token must be computed, or there would be no first output token.
            usable = (request.input_tokens - 1) // self._unit_tokens(cache)
            node = cache.match(self._keys(request)[:usable])
            cache.lock(node)
            request.cache_node = node
            request.cached_pages = cache.prefix_units(node) * cache.unit_pages
            cached_tokens = request.cached_pages * self._pool.page_size
        needed = self._pool.pages_for(request.input_tokens) - request.cached_pages
        if needed > self._pool.available_pages + cache.evictable_pages:
            if isinstance(cache, RadixCache) and request.cache_node is not None:
                cache.unlock(request.cache_node)
                request.cache_node = None
            return False
        request.prefill_row = self._pool.table.open_row()
        request.prefill_pages = request.prefix_pages = request.cached_pages
        request.prefilled_tokens = cached_tokens
        self._write_cached_pages(request)
        self.make_content(request)
        return True

    def extend(self, request: Request, tokens: int) -> bool:
        """Allocate pages for the next tokens of a prompt; return False if fewer are free."""
        pool = self._pool
        target = pool.pages_for(request.prefilled_tokens + tokens)
        count = target - request.prefill_pages
        if count > pool.available_pages:
            self._cache.evict(count - pool.available_pages)
        if count:
            held = request.prefilled_tokens
            pages = pool.extend(request.ordinal, held, held + tokens)
            if pages is None:
                return False
            pool.table.write(request.prefill_row, request.prefill_pages, pages)
            assert request.content is not None
            pool.storage.write(pages, request.content[request.prefill_pages : target])
            pool.account.live_pages += count
        request.prefill_pages = target
        request.prefilled_tokens += tokens
        return True

    def hand_to_cache(self, request: Request) -> None:
        """Transfer the prompt's complete cache units to the tree and keep them locked.

        Who owns the pages at which positions of the row, before and after:

            0              before          + duplicates         cached_pages       prefill_pages
            |<-- tree's -->|<-------------------- the request's own -------------------->|
            |<-- tree's -->|<--- tree's --->|<---- tree's ---->|<------- its own ------->|
                             another cached    `given` by this
                             them meanwhile    request

        Its own copies of the duplicates are freed, or become `spare_pages` while chunks are read
        from them.
        """
        cache, pool = self._cache, self._pool
        if not isinstance(cache, RadixCache) or request.block_hashes is None:
            return
        keys = self._keys(request)
        before, request.cached_pages = request.cached_pages, len(keys) * cache.unit_pages
        row = pool.table.read(request.prefill_row, 0, request.cached_pages)
        held_before = pool.held_pages.get(request.ordinal, 0)
        node = cache.insert(request.ordinal, keys, row)
        given = held_before - pool.held_pages.get(request.ordinal, 0)
        cache.lock(node)
        if request.cache_node is not None:
            cache.unlock(request.cache_node)
        request.cache_node = node
        duplicates = request.cached_pages - before - given
        pool.account.live_pages -= request.cached_pages - before
        if duplicates:
            # Another request cached these units meanwhile: ours are freed, the row reads the tree's.
            mine = pool.arrays.copy(row[before : before + duplicates])
            if request.chunks_moving:
                # Earlier chunks are still read from them.
                request.spare_pages = mine
                pool.account.live_pages += duplicates
            else:
                pool.release(request.ordinal, mine)
            self._write_cached_pages(request)

    def prompt_pages(self, request: Request, start: int, end: int) -> Array:
        """Return a copy of the row's pages at positions start .. end, int64 [end - start]."""
        return self._pool.arrays.copy(self._pool.table.read(request.prefill_row, start, end))

    def to_transfer(self, request: Request) -> None:
        """Count the resources of a computed prompt as in flight."""
        count = self.private_pages(request)
        self._pool.account.live_pages -= count
        self._pool.account.transfer_pages += count

    def private_pages(self, request: Request) -> int:
        """Pages owned by the request itself."""
        spare = 0 if request.spare_pages is None else len(request.spare_pages)
        return request.prefill_pages - request.cached_pages + spare

    def stall(self, request: Request) -> bool:
        """Move the pages of an overdue request into the gap; return False if they are there already."""
        account = self._pool.account
        if account.is_stalled(request.ordinal):
            return False
        account.stall(request.ordinal, self.private_pages(request))
        if isinstance(self._cache, RadixCache) and request.cache_node is not None:
            self._cache.stall(request.ordinal, request.cache_node)
        return True

    def release(self, request: Request) -> None:
        """Release the resources of a request in flight: its own pages, its lock and its row."""
        pages = self._leave_flight(request)
        if self._profile.duplicate_acknowledgement == "free-again":
            request.released_pages = pages
        self._pool.release(request.ordinal, pages)
        self._unlock(request)
        if self._profile.release_subtracts_prefix_again:
            self._cache.protected_pages -= request.cached_pages
        self._pool.table.close_row(request.prefill_row)

    def release_again(self, request: Request) -> None:
        """Release a request a second time, like an engine without a guard."""
        assert request.released_pages is not None, "what is released again was released"
        self._pool.release(request.ordinal, request.released_pages)
        self._unlock(request)

    def forget(self, request: Request) -> None:
        """Drop a request in flight without releasing anything, not even its lock."""
        self._leave_flight(request)
        if isinstance(self._cache, RadixCache) and request.cache_node is not None:
            self._cache.stall(request.ordinal, request.cache_node)
        held = self._pool.held_pages.get(request.ordinal, 0)
        self._pool.account.depart(request.ordinal, held)

    def _leave_flight(self, request: Request) -> Array:
        """Remove a request's pages from the in-flight books; return them, int64 [private]."""
        account = self._pool.account
        if account.is_stalled(request.ordinal):
            account.resume(request.ordinal)
            if isinstance(self._cache, RadixCache) and request.cache_node is not None:
                self._cache.resume(request.ordinal, request.cache_node)
        account.transfer_pages -= self.private_pages(request)
        pages = self.prompt_pages(request, request.cached_pages, request.prefill_pages)
        if request.spare_pages is not None:
            pages = self._pool.arrays.concatenate((pages, request.spare_pages))
            request.spare_pages = None
        return pages

    def _unlock(self, request: Request) -> None:
        if isinstance(self._cache, RadixCache) and request.cache_node is not None:
            self._cache.unlock(request.cache_node)

    def _write_cached_pages(self, request: Request) -> None:
        """Write the tree's pages to the head of the request's row."""
        if not isinstance(self._cache, RadixCache) or request.cache_node is None:
            return
        at = 0
        for node in self._cache.path(request.cache_node):
            assert node.pages is not None
            self._pool.table.write(request.prefill_row, at, node.pages)
            at += len(node.pages)

    def make_content(self, request: Request) -> None:
        """Compute the expected content of every page of the request, for prompt and decoded tokens."""
        decoded = decode_steps(request.output_tokens, self._profile.overlap_schedule)
        words = self._content.request_content(
            request.block_hashes,
            self._pool.pages_for(request.input_tokens),
            self._pool.pages_for(request.input_tokens + decoded),
            request.ordinal,
        )
        request.content = self._pool.arrays.upload(words)

    def _unit_tokens(self, cache: RadixCache) -> int:
        return cache.unit_pages * self._pool.page_size

    def _keys(self, request: Request) -> Sequence[int]:
        """Identity of each whole cache unit of the prompt: the last block hash in it."""
        if request.cache_keys is not None:
            return request.cache_keys
        assert isinstance(self._cache, RadixCache)
        assert request.block_hashes is not None
        unit_tokens = self._unit_tokens(self._cache)
        blocks_per_unit = unit_tokens // self._block_size
        units = request.input_tokens // unit_tokens
        keys: list[int] = request.block_hashes[
            blocks_per_unit - 1 : units * blocks_per_unit : blocks_per_unit
        ].tolist()
        request.cache_keys = keys
        return keys
