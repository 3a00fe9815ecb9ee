"""The running decode batch of one rank, advanced many iterations at a time.

Nothing but lengths changes while a batch decodes, so the pages that n steps need can be taken at
once: step by step and within a step in batch order, exactly as n single steps would have taken them
from the head of the free list.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from replay.engine.request import DecodeState, Request
from replay.pool.ledger import FIRST_OWNER
from replay.pool.pool import KvPool
from replay.pool.storage import content_at

#: A step beyond every replay: "nothing of interest".
NEVER = 1 << 62


class RunningBatch:
    """Requests that decode together, in batch order, over one pool."""

    def __init__(self, pool: KvPool) -> None:
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
        """Take a request out of the batch before its end."""
        self.requests.remove(request)

    def advance(self, steps: int) -> None:
        """Account for all decode steps up to number `steps`, taking the pages they needed."""
        elapsed = steps - self._steps
        self._steps = steps
        if elapsed <= 0 or not self.requests:
            return
        page_size = self._pool.page_size
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
        """The step at which a request ends or the pool may run dry, whichever comes first."""
        if not self.requests:
            return NEVER
        safe_pages = self._pool.allocator.available_pages // len(self.requests)
        dry = self._steps + max(1, safe_pages * self._pool.page_size)
        # An entry of a request that was aborted or retracted only makes this step too early.
        return min(dry, max(self._steps + 1, self._ends[0][0]))

    def pick_victim(self) -> Request | None:
        """The request to retract because the next step's pages do not fit, or None when they do.

        The one with most still to decode goes, as in sglang 0.4.6 `ScheduleBatch.retract_decode`.
        """
        if len(self.requests) <= self._pool.allocator.available_pages:
            return None
        page_size = self._pool.page_size
        needed = sum(request.kv_tokens % page_size == 0 for request in self.requests)
        if needed <= self._pool.allocator.available_pages:
            return None
        return max(self.requests, key=lambda request: (request.steps_left, request.ordinal))

    def _take_pages(self, pages_before: list[int], pages_after: list[int], elapsed: int) -> None:
        """Take and fill the pages of `elapsed` steps at once."""
        pool, growing = self._pool, []
        for request, before, after in zip(self.requests, pages_before, pages_after, strict=True):
            if after > before:
                growing.append((request, before, after - before))
        counts = [count for _, _, count in growing]
        rows = [
            (request.ordinal, request.decode_row, before, request.kv_tokens - elapsed, request.tag)
            for request, before, _ in growing
        ]
        facts = _order_pages(np.array(rows, dtype=np.int64).T, counts, pool.page_size)
        ordinals, table_rows, columns, _, tags = facts
        words = content_at(ordinals.view(np.uint64), columns) ^ tags
        upload = pool.arrays.upload
        pages = pool.acquire_many([row[0] for row in rows], counts, upload(ordinals + FIRST_OWNER))
        pool.table.fit_columns(max(pages_after))
        pool.table.scatter(upload(table_rows), upload(columns), pages)
        pool.storage.write(pages, upload(words))
        pool.account.live_pages += len(pages)


def _order_pages(
    facts: npt.NDArray[np.int64], counts: list[int], page_size: int
) -> npt.NDArray[np.int64]:
    """Spread one column for each request over its pages, in the order in which they are taken.

    `facts` is int64 [5, requests]: ordinal, table row, first new position, tokens held before, tag.
    Returns int64 [5, pages], where the third row has become the position of each page. A page is
    taken at the step that writes its first token; ties stay in batch order.
    """
    if len(counts) == 1 and counts[0] == 1:
        return facts
    if max(counts) > 1:
        facts = facts.repeat(counts, axis=1)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        facts[2] += np.arange(facts.shape[1]) - starts
    if len(counts) == 1:
        return facts
    order = (facts[2] * page_size - facts[3]).argsort(kind="stable")
    in_order: npt.NDArray[np.int64] = np.take(facts, order, axis=1)
    return in_order
