"""Free lists over a fixed range of pages, in the order that SGLang hands pages out.

Both allocators keep the pages never used so far as a counter and only the pages that came back as a
tensor, so creating one and every operation cost O(pages touched), whatever the pool's size:

    TokenAllocator (page_size 1, first in first out)
        head                                        tail
        [ never used, ascending ][ freed, oldest first ]

    PagedAllocator (freed pages go in front)
        head                                        tail
        [ freed, latest first ][ never used, ascending ]

Page 0 is padding and is never handed out. Source of the order: sglang 0.4.6.post4,
`mem_cache/memory_pool.py` (TokenToKVPoolAllocator) and `mem_cache/paged_allocator.py`
(PagedTokenToKVPoolAllocator). Counts live on the host; no operation waits for the device.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import torch

from replay.pool.arrays import Array, Arrays

_FIRST_CAPACITY_PAGES = 1024


class PageAllocator(Protocol):
    """Hands out page ids (int64 arrays on one device) and takes them back."""

    page_size: int
    total_pages: int
    #: How many pages the free list holds; more than `total_pages` after an over-free.
    available_pages: int

    def alloc(self, count: int) -> Array | None:
        """Take `count` pages from the head, int64 [count], or None when fewer are free."""

    def free(self, pages: Array) -> None:
        """Take distinct pages back, int64 [n]. A page that is free already is listed twice."""

    def free_list(self) -> Array:
        """The whole free list from head to tail, int64 [available]; O(pool), for audits only."""


def create_allocator(total_pages: int, page_size: int, arrays: Arrays) -> PageAllocator:
    """Create the allocator that SGLang would: by token for a page size of 1, else by page."""
    if page_size == 1:
        return TokenAllocator(total_pages, arrays)
    return PagedAllocator(total_pages, page_size, arrays)


class _FreshRange:
    """The pages never used so far: `next_page .. total_pages`, ascending."""

    __slots__ = ("_arrays", "_next_page", "_total_pages")

    def __init__(self, total_pages: int, arrays: Arrays) -> None:
        self._next_page = 1
        self._total_pages = total_pages
        self._arrays = arrays

    @property
    def count(self) -> int:
        return self._total_pages - self._next_page + 1

    def take(self, count: int) -> Array:
        start = self._next_page
        self._next_page += count
        return self._arrays.arange(start, start + count)

    def peek_all(self) -> Array:
        return self._arrays.arange(self._next_page, self._total_pages + 1)


class TokenAllocator:
    """First in, first out, one token a page (SGLang's TokenToKVPoolAllocator).

    Freed pages are kept in the pieces in which they came, so nothing is copied twice.
    """

    def __init__(self, total_pages: int, arrays: Arrays) -> None:
        self.page_size = 1
        self.total_pages = total_pages
        self.available_pages = total_pages
        self._arrays = arrays
        self._fresh = _FreshRange(total_pages, arrays)
        self._freed: deque[Array] = deque()

    def alloc(self, count: int) -> Array | None:
        """Take `count` pages from the head, int64 [count], or None when fewer are free."""
        if count > self.available_pages:
            return None
        self.available_pages -= count
        from_fresh = min(count, self._fresh.count)
        parts = [self._fresh.take(from_fresh)] if from_fresh or not count else []
        left = count - from_fresh
        while left:
            piece = self._freed.popleft()
            if len(piece) > left:
                self._freed.appendleft(piece[left:])
                piece = piece[:left]
            parts.append(piece)
            left -= len(piece)
        return parts[0] if len(parts) == 1 else self._arrays.concatenate(parts)

    def free(self, pages: Array) -> None:
        """Append distinct pages at the tail, in the order given."""
        if len(pages):
            self._freed.append(self._arrays.copy(pages))
            self.available_pages += len(pages)

    def free_list(self) -> Array:
        """The whole free list from head to tail; O(pool), for audits only."""
        return self._arrays.concatenate((self._fresh.peek_all(), *self._freed))


class PagedAllocator:
    """Whole pages; pages given back go in front, ascending (SGLang's paged allocator)."""

    def __init__(self, total_pages: int, page_size: int, arrays: Arrays) -> None:
        self.page_size = page_size
        self.total_pages = total_pages
        self.available_pages = total_pages
        self._arrays = arrays
        self._fresh = _FreshRange(total_pages, arrays)
        # The freed part, kept backwards: its end is the head of the free list.
        self._stack = arrays.empty((_FIRST_CAPACITY_PAGES,), torch.int64)
        self._depth = 0

    def alloc(self, count: int) -> Array | None:
        """Take `count` pages from the head, int64 [count], or None when fewer are free."""
        if count > self.available_pages:
            return None
        self.available_pages -= count
        from_stack = min(count, self._depth)
        if from_stack == 0:
            return self._fresh.take(count)
        returned = self._arrays.backwards(self._stack[self._depth - from_stack : self._depth])
        self._depth -= from_stack
        if from_stack == count:
            return returned
        return self._arrays.concatenate((returned, self._fresh.take(count - from_stack)))

    def free(self, pages: Array) -> None:
        """Put distinct pages in front, ascending from the head."""
        count = len(pages)
        if count == 0:
            return
        if self._depth + count > len(self._stack):
            self._grow(self._depth + count)
        # Sorting stands in for SGLang's `torch.unique`: the same order for distinct pages, and its
        # output length is known, so a CUDA device need not be waited for.
        self._stack[self._depth : self._depth + count] = self._arrays.sorted_descending(pages)
        self._depth += count
        self.available_pages += count

    def free_list(self) -> Array:
        """The whole free list from head to tail; O(pool), for audits only."""
        freed = self._arrays.backwards(self._stack[: self._depth])
        return self._arrays.concatenate((freed, self._fresh.peek_all()))

    def _grow(self, needed: int) -> None:
        capacity = max(needed, 2 * len(self._stack))
        grown = self._arrays.empty((capacity,), torch.int64)
        grown[: self._depth] = self._stack[: self._depth]
        self._stack = grown
