"""The running decode batch of one rank, advanced many iterations at a time.

Only lengths change while a batch decodes, so the pages for n steps can be allocated at once: step
by step, and within a step in batch order, exactly as n single steps would take them from the head
of the free list.
"""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import Literal

import numpy as np
import numpy.typing as npt

from replay.pair.request import DecodeState, Request
from replay.pool.pool import KvPool
from replay.pool.storage import NO_WRITER, content_at
from replay.recording.owner_codes import FIRST_OWNER

#: A step beyond every replay: "nothing of interest".
NEVER = 1 << 62


class RunningBatch:
    """Requests that decode together, in batch order, over one pool."""

    def __init__(
        self, pool: KvPool, retracts_first: Literal["fewest-decoded", "last"] = "fewest-decoded"
    ) -> None:
        self._retracts_first = retracts_first
        self.requests: list[Request] = []
        self._pool = pool
        self._steps = 0
        self._ends: list[tuple[int, int, Request]] = []

    def __len__(self) -> int:
        return len(self.requests)

    def add(self, request: Request) -> None:
        """Append a request to the batch."""
        request.decode_state = DecodeState.RUNNING
        self.requests.append(request)
        end = self._steps + request.steps_left
        heapq.heappush(self._ends, (end, request.ordinal, request))

    def remove(self, request: Request) -> None:
        """Remove a request from the batch before its end."""
        self.requests.remove(request)

    def advance(self, steps: int) -> None:
        """Account for all decode steps up to number `steps`, and allocate their pages."""
        elapsed = steps - self._steps
        if elapsed <= 0:
            return
        self._steps = steps
        if not self.requests:
            return
        page_size = self._pool.page_size
        if page_size > 1:
            # Like `alloc_decode`, even if this step needs no page.
            self._pool.allocator.settle(len(self.requests))
        pages_before, pages_after = [], []
        for request in self.requests:
            pages_before.append(-(-request.kv_tokens // page_size))
            request.kv_tokens += elapsed
            request.steps_left -= elapsed
            pages_after.append(-(-request.kv_tokens // page_size))
        if pages_after != pages_before:
            self._take_pages(pages_before, pages_after, elapsed)

    def take_finished(self) -> list[Request]:
        """Remove and return the requests that have decoded their last token, in batch order."""
        if not self._ends or self._ends[0][0] > self._steps:
            return []
        while self._ends and self._ends[0][0] <= self._steps:
            heapq.heappop(self._ends)
        finished = [request for request in self.requests if request.steps_left <= 0]
        if finished:
            self.requests = [request for request in self.requests if request.steps_left > 0]
        return finished

    def next_step_of_interest(self) -> int:
        """Return the step at which a request ends or the pool may be exhausted, whichever is first."""
        if not self.requests:
            return NEVER
        allocator, size = self._pool.allocator, len(self.requests)
        safe_pages = allocator.available_pages // size
        if allocator.staged_pages:
            # The step that merges them must see the same list as in single steps.
            safe_pages = max(0, allocator.listed_pages // size - 1)
        dry = self._steps + max(1, safe_pages * self._pool.page_size)
        # An entry of a request that was aborted or retracted only makes this step too early.
        return min(dry, max(self._steps + 1, self._ends[0][0]))

    def pick_victim(self) -> Request | None:
        """Return the request to retract if the next step's pages do not fit, otherwise None.

        In sglang this is the request with the fewest decoded tokens, of these the one with the
        longest prompt (0.4.6.post4 `managers/schedule_batch.py`, retract_decode); in vllm the last
        of the batch.
        """
        if len(self.requests) <= self._pool.allocator.available_pages:
            return None
        page_size = self._pool.page_size
        needed = sum(request.kv_tokens % page_size == 0 for request in self.requests)
        if needed <= self._pool.allocator.available_pages:
            return None
        if self._retracts_first == "last":
            return self.requests[-1]
        return min(self.requests, key=_retraction_order)

    def _take_pages(self, pages_before: list[int], pages_after: list[int], elapsed: int) -> None:
        """Allocate and fill the pages of `elapsed` steps at once."""
        pool, growing = self._pool, []
        for request, before, after in zip(self.requests, pages_before, pages_after, strict=True):
            if after > before:
                tokens = request.kv_tokens - elapsed
                growing.append((tokens, request.ordinal, request.decode_row, before, request.tag))
        counts = [after - before for before, after in zip(pages_before, pages_after, strict=True)]
        counts = [count for count in counts if count]
        spread = _spread_few if sum(counts) <= _FEW_PAGES else _spread_many
        ordinals, table_rows, columns, tags = spread(growing, counts, pool.page_size)
        words = content_at(ordinals.view(np.uint64), columns) ^ tags
        upload = pool.arrays.upload
        pages = pool.acquire_many(
            [row[1] for row in growing], counts, upload(ordinals + FIRST_OWNER)
        )
        pool.table.fit_columns(max(pages_after))
        pool.table.scatter(upload(table_rows), upload(columns), pages)
        pool.storage.write(pages, upload(words), NO_WRITER)
        pool.account.live_pages += len(pages)


def _retraction_order(request: Request) -> tuple[int, int, int]:
    return request.kv_tokens - request.input_tokens, -request.input_tokens, -request.ordinal


#: (tokens held before, ordinal, table row, first new position, tag) of a request that grows.
_Growing = tuple[int, int, int, int, int]

#: Below this many pages a Python loop is faster than the array operations that replace it.
_FEW_PAGES = 24


def _spread_few(
    growing: list[_Growing], counts: list[int], page_size: int
) -> npt.NDArray[np.int64]:
    """Return ordinal, table row, position and tag of each page to allocate; int64 [4, pages].

    A page is allocated at the step that writes its first token; ties stay in batch order.
    """
    pages = [
        (position * page_size - tokens, ordinal, row, position, tag)
        for (tokens, ordinal, row, first, tag), count in zip(growing, counts, strict=True)
        for position in range(first, first + count)
    ]
    pages.sort(key=itemgetter(0))
    return np.array(pages, dtype=np.int64).T[1:]


def _spread_many(
    growing: list[_Growing], counts: list[int], page_size: int
) -> npt.NDArray[np.int64]:
    """The same as `_spread_few`, without a loop over pages."""
    facts = np.array(growing, dtype=np.int64).T.repeat(counts, axis=1)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    facts[3] += np.arange(facts.shape[1]) - starts
    order = (facts[3] * page_size - facts[0]).argsort(kind="stable")
    in_order: npt.NDArray[np.int64] = np.take(facts, order, axis=1)
    return in_order[1:]
