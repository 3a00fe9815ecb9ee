"""One rank's KV pool: free list, ledger, block table and page contents, updated together.

The schedulers use this class only, so that a page cannot change its owner in one place and not in
the others. In addition to the device tensors it keeps two small tables on the host, which mirror
the ledger: the pages that each request holds here, and its surplus releases.
"""

from __future__ import annotations

from replay.errors import AllocatorError, InvariantError
from replay.pool.account import PoolAccount
from replay.pool.allocator import PageAllocator, create_allocator
from replay.pool.arrays import Array, Arrays
from replay.pool.block_table import BlockTable
from replay.pool.foreign_allocator import AllocatorFactory, ForeignAllocator
from replay.pool.ledger import PageLedger
from replay.pool.storage import KvStorage
from replay.pool.token_indices import pages_in_reach
from replay.recording.owner_codes import CACHE, FIRST_OWNER


class KvPool:
    """A pool of `total_tokens` in pages of `page_size` tokens."""

    def __init__(
        self,
        name: str,
        total_tokens: int,
        page_size: int,
        words_per_page: int,
        arrays: Arrays,
        sorts_pages: bool = False,
        make_allocator: AllocatorFactory | None = None,
    ) -> None:
        """`make_allocator` replaces the engine's free list and its order."""
        self.name = name
        self.page_size = page_size
        self.total_pages = total_tokens // page_size
        self.arrays = arrays
        self.ledger = PageLedger(self.total_pages, arrays)
        self.allocator: PageAllocator | ForeignAllocator
        if make_allocator is None:
            self.allocator = create_allocator(self.total_pages, page_size, arrays, sorts_pages)
        else:
            self.allocator = ForeignAllocator(
                name, self.total_pages, page_size, make_allocator, arrays, self.ledger
            )
        self.storage = KvStorage(self.total_pages, words_per_page, arrays)
        self.table = BlockTable(arrays)
        self.account = PoolAccount()
        self.held_pages: dict[int, int] = {}

    def free_arrays(self) -> None:
        """Free the memory; the pool cannot be used afterwards."""
        del self.allocator, self.ledger, self.storage, self.table

    @property
    def available_pages(self) -> int:
        """Pages on the free list."""
        return self.allocator.available_pages

    @property
    def may_share_pages(self) -> bool:
        """Whether a page can be held, or be on the free list, more than once."""
        return self.account.over_freed_pages > 0 or isinstance(self.allocator, ForeignAllocator)

    def pages_for(self, tokens: int) -> int:
        """Number of pages for this many tokens."""
        return -(-tokens // self.page_size)

    def acquire(self, ordinal: int, count: int) -> Array | None:
        """Allocate `count` pages for request `ordinal`; int64 [count], or None if fewer are free."""
        pages = self.allocator.alloc(count)
        if pages is None:
            return None
        self.ledger.acquire(pages, ordinal + FIRST_OWNER)
        self.held_pages[ordinal] = self.held_pages.get(ordinal, 0) + count
        return pages

    def extend(self, ordinal: int, tokens_before: int, tokens_after: int) -> Array | None:
        """Allocate the pages that a request needs to grow; int64 [n], or None if fewer are free.

        The same pages as SGLang's `alloc_extend` for one request, or its `alloc` by token.
        """
        if self.page_size > 1:
            grown = tokens_after - tokens_before
            self.allocator.settle(pages_in_reach(grown, 1, self.page_size))
        return self.acquire(ordinal, self.pages_for(tokens_after) - self.pages_for(tokens_before))

    def acquire_many(self, ordinals: list[int], counts: list[int], owners: Array) -> Array:
        """Allocate pages for several requests at once; int64 [sum of counts], from head to tail.

        Request `ordinals[i]` gets `counts[i]` of them; `owners` gives the owner of each page, int64
        [sum of counts], as ordinal + FIRST_OWNER on the pool's device.

        Raises:
            InvariantError: fewer pages are free, which the caller must have checked.
            AllocatorError: the same, but a user's allocator has lost the pages in the meantime.
        """
        pages = self.allocator.alloc(len(owners))
        if pages is None:
            is_ours = isinstance(self.allocator, PageAllocator)
            raise (InvariantError if is_ours else AllocatorError)(
                f"{self.name}: a running batch needs {len(owners)} pages, "
                f"free are {self.available_pages}"
            )
        self.ledger.acquire_many(pages, self.arrays.as_owners(owners))
        for ordinal, count in zip(ordinals, counts, strict=True):
            if count:
                self.held_pages[ordinal] = self.held_pages.get(ordinal, 0) + count
        return pages

    def release(self, ordinal: int, pages: Array) -> None:
        """Release pages of request `ordinal`, as often as the engine does."""
        self.release_group([(ordinal, pages)])

    def release_group(self, group: list[tuple[int, Array]]) -> None:
        """Release the pages of several requests at once, like SGLang's free groups."""
        for ordinal, pages in group:
            self.ledger.release(pages, ordinal + FIRST_OWNER)
            self._note_released(ordinal, len(pages))
        freed = [pages for _, pages in group]
        self.allocator.free(freed[0] if len(freed) == 1 else self.arrays.concatenate(freed))

    def give_to_cache(self, ordinal: int, pages: Array) -> None:
        """Transfer pages of a request to the prefix cache."""
        self.ledger.hand_over(pages, ordinal + FIRST_OWNER, CACHE)
        self._note_released(ordinal, len(pages))

    def release_from_cache(self, pages: Array) -> None:
        """Release pages that the prefix cache evicts."""
        self.ledger.release(pages, CACHE)
        self.allocator.free(pages)

    def _note_released(self, ordinal: int, count: int) -> None:
        left = self.held_pages.get(ordinal, 0) - count
        if left < 0:
            self.account.over_free(ordinal, -left)
            left = 0
        if left == 0:
            self.held_pages.pop(ordinal, None)
        else:
            self.held_pages[ordinal] = left
