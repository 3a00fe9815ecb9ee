"""Allocates and frees pages in the same order as SGLang.

An allocator is a free list (`replay.pool.free_lists`) and a count on the host. Page ids are
int64 arrays on one device; no operation waits for the device, and each costs O(pages touched).
Token indices, the unit of SGLang's API, are one layer up (`replay.pool.token_indices`).
"""

from __future__ import annotations

from replay.errors import InvariantError
from replay.pool.arrays import Array, Arrays
from replay.pool.free_lists import FifoList, FreeList, SortedList, StackList

#: Page ids are kept as int32, here and by the ledger.
_PAGES_MAX = (1 << 31) - 1


class PageAllocator:
    """The pages 1 .. total_pages; page 0 is padding and is never handed out."""

    __slots__ = ("_arrays", "_list", "available_pages", "page_size", "total_pages")

    def __init__(
        self, total_pages: int, page_size: int, free_list: FreeList, arrays: Arrays
    ) -> None:
        self.page_size = page_size
        self.total_pages = total_pages
        #: Number of free pages; more than `total_pages` after an over-free.
        self.available_pages = total_pages
        self._arrays = arrays
        self._list = free_list

    @property
    def listed_pages(self) -> int:
        """Free pages that are not staged."""
        return self._list.listed

    @property
    def staged_pages(self) -> int:
        """Staged pages, which will be merged into the list."""
        return self._list.staged

    def settle(self, count: int) -> None:
        """Merge the staged pages if fewer than `count` pages are listed."""
        if count > self._list.listed:
            self._list.merge()

    def alloc(self, count: int) -> Array | None:
        """Take `count` pages from the head, int64 [count], or None if fewer are free."""
        self.settle(count)
        if count > self._list.listed:
            return None
        self.available_pages -= count
        return self._list.take(count)

    def free(self, pages: Array) -> None:
        """Free pages, int64 [n]. A page that is already free is listed once more.

        Where a page is more than a token, the pages of one call must be distinct. SGLang drops
        the second of two equal ones there, and waits for the device to know how many are left;
        `TokenIndexAllocator.free` does the same.
        """
        if len(pages):
            self._list.put(pages)
            self.available_pages += len(pages)

    def free_list(self) -> Array:
        """All free pages, listed from head to tail, then staged; O(pool), for audits only."""
        return self._arrays.concatenate((self._list.listed_pages(), self._list.staged_pages()))


def create_allocator(
    total_pages: int, page_size: int, arrays: Arrays, sorts_pages: bool = False
) -> PageAllocator:
    """Create the allocator that SGLang would: by token for a page size of 1, else by page.

    `sorts_pages` is SGLang's `need_sort`.

    Raises:
        InvariantError: page ids of such a pool do not fit 32 bits.
    """
    if total_pages > _PAGES_MAX:
        raise InvariantError(
            f"a pool of {total_pages} pages; at most {_PAGES_MAX} can be told apart"
        )
    free_list: FreeList
    if sorts_pages:
        free_list = SortedList(total_pages, arrays, ascending_pieces=page_size > 1)
    elif page_size == 1:
        free_list = FifoList(total_pages, arrays)
    else:
        free_list = StackList(total_pages, arrays)
    return PageAllocator(total_pages, page_size, free_list, arrays)
