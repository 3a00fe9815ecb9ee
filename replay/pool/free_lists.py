"""The three orders in which engines keep their free pages, for page ids 1 .. total_pages.

Every list stores unused pages as a counter, and only the freed pages as arrays. Creating a list and
every operation therefore cost O(pages touched), regardless of the pool's size:

    FifoList (first in, first out)
        head                                             tail
        [ never used, ascending ][ freed, oldest first ]

    StackList (freed pages go in front)
        head                                             tail
        [ freed, latest first ][ never used, ascending ]

    SortedList (freed pages are staged, and merged in when the list runs short)
        head                                             tail
        [ merged or never used, ascending ]   | staged, oldest first |

Page 0 is padding and is never listed. Counts live on the host; nothing here waits for the device.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import torch

from replay.pool.arrays import Array, Arrays

#: Pages in one block of a `PageQueue`: 16 MiB, of which the system provides only what is written. The
#: block is large because NumPy requests huge pages from 4 MiB on: with small blocks, the first write to
#: each 4 KiB cost more than the allocation and the release that caused it.
_QUEUE_CHUNK_PAGES = 1 << 22
_STACK_FIRST_PAGES = 1024


class FreeList(Protocol):
    """Free pages in the order in which they will be allocated."""

    #: Pages that `take` can return now, and pages that `merge` would add.
    listed: int
    staged: int

    def take(self, count: int) -> Array:
        """Remove `count` <= `listed` pages from the head, int64 [count]."""

    def put(self, pages: Array) -> None:
        """Add distinct freed pages, int64 [n > 0]; the array still belongs to the caller."""

    def merge(self) -> None:
        """Merge the staged pages into the list."""

    def listed_pages(self) -> Array:
        """The pages listed, from head to tail, int64 [listed]; O(pool)."""

    def staged_pages(self) -> Array:
        """The pages staged, oldest first, int64 [staged]; O(pool)."""


class _FreshRange:
    """The pages that were never used: `next_page .. total_pages`, ascending."""

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


class PageQueue:
    """Page ids, first in, first out, stored as int32 in large memory blocks that are reused.

    What is taken out is a copy, so a piece whose last page is taken has no readers left.
    """

    def __init__(self, pages_max: int, arrays: Arrays) -> None:
        """`pages_max` is the expected maximum number of pages; more fit as well."""
        self._arrays = arrays
        self._chunk_pages = max(1, min(pages_max, _QUEUE_CHUNK_PAGES))
        self._chunks: deque[Array] = deque()
        self._spare: Array | None = None
        #: Position of the oldest page in the first chunk, and of the next free slot in the last one.
        self._head = 0
        self._tail = self._chunk_pages

    def put(self, pages: Array) -> None:
        """Append pages, in the order given."""
        written, count = 0, len(pages)
        while written < count:
            if self._tail == self._chunk_pages:
                self._open_chunk()
            size = min(count - written, self._chunk_pages - self._tail)
            self._chunks[-1][self._tail : self._tail + size] = pages[written : written + size]
            self._tail += size
            written += size

    def take(self, count: int) -> list[Array]:
        """Remove the oldest `count` pages; return them as consecutive int64 arrays."""
        parts = []
        while count:
            size = min(count, self._chunk_pages - self._head)
            piece = self._chunks[0][self._head : self._head + size]
            parts.append(self._arrays.as_indices(piece))
            self._head += size
            count -= size
            if self._head == self._chunk_pages:
                self._spare = self._chunks.popleft()
                self._head = 0
        return parts

    def peek_all(self) -> list[Array]:
        """Return all pages, oldest first, as consecutive int64 arrays."""
        parts = []
        for number, chunk in enumerate(self._chunks):
            start = self._head if number == 0 else 0
            end = self._tail if number == len(self._chunks) - 1 else self._chunk_pages
            parts.append(self._arrays.as_indices(chunk[start:end]))
        return parts

    def _open_chunk(self) -> None:
        chunk, self._spare = self._spare, None
        if chunk is None:
            chunk = self._arrays.empty((self._chunk_pages,), torch.int32)
        self._chunks.append(chunk)
        self._tail = 0


class FifoList:
    """First in, first out.

    Source: sglang 0.4.6.post4 `mem_cache/memory_pool.py` and 0.5.23 `mem_cache/allocator/token.py`
    (TokenToKVPoolAllocator without `need_sort`).
    """

    staged = 0

    def __init__(self, total_pages: int, arrays: Arrays) -> None:
        self.listed = total_pages
        self._arrays = arrays
        self._fresh = _FreshRange(total_pages, arrays)
        self._freed = PageQueue(total_pages, arrays)

    def take(self, count: int) -> Array:
        """Remove `count` <= `listed` pages from the head, int64 [count]."""
        self.listed -= count
        from_fresh = min(count, self._fresh.count)
        if from_fresh == count:
            return self._fresh.take(count)
        parts = self._freed.take(count - from_fresh)
        if from_fresh:
            parts.insert(0, self._fresh.take(from_fresh))
        return parts[0] if len(parts) == 1 else self._arrays.concatenate(parts)

    def put(self, pages: Array) -> None:
        """Append pages at the tail, in the order given."""
        self._freed.put(pages)
        self.listed += len(pages)

    def merge(self) -> None:
        """Nothing is ever staged."""

    def listed_pages(self) -> Array:
        """The pages listed, from head to tail; O(pool)."""
        return self._arrays.concatenate((self._fresh.peek_all(), *self._freed.peek_all()))

    def staged_pages(self) -> Array:
        """None."""
        return self._arrays.arange(0, 0)


class StackList:
    """Freed pages go in front, ascending.

    Source: sglang 0.4.6.post4 `mem_cache/paged_allocator.py` and 0.5.23
    `mem_cache/allocator/paged.py` (PagedTokenToKVPoolAllocator without `need_sort`).
    """

    staged = 0

    def __init__(self, total_pages: int, arrays: Arrays) -> None:
        self.listed = total_pages
        self._arrays = arrays
        self._fresh = _FreshRange(total_pages, arrays)
        # The freed part, stored in reverse: its end is the head of the free list.
        self._stack = arrays.empty((_STACK_FIRST_PAGES,), torch.int64)
        self._depth = 0

    def take(self, count: int) -> Array:
        """Remove `count` <= `listed` pages from the head, int64 [count]."""
        self.listed -= count
        from_stack = min(count, self._depth)
        if from_stack == 0:
            return self._fresh.take(count)
        returned = self._arrays.backwards(self._stack[self._depth - from_stack : self._depth])
        self._depth -= from_stack
        if from_stack == count:
            return returned
        return self._arrays.concatenate((returned, self._fresh.take(count - from_stack)))

    def put(self, pages: Array) -> None:
        """Put distinct pages in front, ascending from the head."""
        count = len(pages)
        if self._depth + count > len(self._stack):
            self._grow(self._depth + count)
        # Sorting replaces SGLang's `torch.unique`: it gives the same order for distinct pages, and its
        # output length is known, so there is no need to wait for a CUDA device.
        self._stack[self._depth : self._depth + count] = self._arrays.sorted_descending(pages)
        self._depth += count
        self.listed += count

    def merge(self) -> None:
        """Nothing is ever staged."""

    def listed_pages(self) -> Array:
        """The pages listed, from head to tail; O(pool)."""
        freed = self._arrays.backwards(self._stack[: self._depth])
        return self._arrays.concatenate((freed, self._fresh.peek_all()))

    def staged_pages(self) -> Array:
        """None."""
        return self._arrays.arange(0, 0)

    def _grow(self, needed: int) -> None:
        capacity = max(needed, 2 * len(self._stack))
        grown = self._arrays.empty((capacity,), torch.int64)
        grown[: self._depth] = self._stack[: self._depth]
        self._stack = grown


class SortedList:
    """Freed pages are staged, and merged sorted into the list when it runs short.

    A merge sorts the pages freed since the last merge and the few pages still listed, so its cost
    is proportional to the pages touched in between.

    Source: sglang 0.5.23 `mem_cache/allocator/{base,token,paged}.py` with `need_sort`, which
    `mem_cache/kv_cache_configurator.py` sets on both sides of a disaggregated deployment.
    """

    def __init__(self, total_pages: int, arrays: Arrays, ascending_pieces: bool) -> None:
        """`ascending_pieces`: sort each group of pages when it is staged (`unique`)."""
        self.listed = total_pages
        self.staged = 0
        self._arrays = arrays
        self._ascending_pieces = ascending_pieces
        self._fresh = _FreshRange(total_pages, arrays)
        #: The result of the last merge, including the fresh range.
        self._merged: Array | None = None
        self._staged = PageQueue(total_pages, arrays)

    def take(self, count: int) -> Array:
        """Remove `count` <= `listed` pages from the head, int64 [count]."""
        self.listed -= count
        if self._merged is None:
            return self._fresh.take(count)
        taken, self._merged = self._merged[:count], self._merged[count:]
        return taken

    def put(self, pages: Array) -> None:
        """Stage pages, in the order given or ascending."""
        ordered = self._arrays.sorted_ascending(pages) if self._ascending_pieces else pages
        self._staged.put(ordered)
        self.staged += len(pages)

    def merge(self) -> None:
        """Sort all listed and staged pages into one list."""
        if self.staged:
            staged = self._staged.take(self.staged)
            self._merged = self._arrays.sorted_ascending(
                self._arrays.concatenate((self._unstaged(), *staged))
            )
            self.listed += self.staged
            self.staged = 0

    def listed_pages(self) -> Array:
        """The pages listed, from head to tail; O(pool)."""
        return self._arrays.copy(self._unstaged())

    def staged_pages(self) -> Array:
        """The pages staged, oldest first; O(pool)."""
        return self._arrays.concatenate((self._arrays.arange(0, 0), *self._staged.peek_all()))

    def _unstaged(self) -> Array:
        return self._fresh.peek_all() if self._merged is None else self._merged
