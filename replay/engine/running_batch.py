"""The running decode batch of one rank, advanced many iterations at a time.

Nothing but lengths changes while a batch decodes, so the pages that n steps need can be taken at
once: step by step and within a step in batch order, exactly as n single steps would have taken them
from the head of the free list.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
import torch

from replay.engine.request import DecodeState, Request
from replay.pool.pool import KvPool
from replay.pool.storage import payload_at, write_tag

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
        pages_before = [-(-request.kv_tokens // page_size) for request in self.requests]
        pages_after = []
        for request in self.requests:
            request.kv_tokens += elapsed
            request.steps_left -= elapsed
            pages_after.append(-(-request.kv_tokens // page_size))
        if pages_after != pages_before:
            self._take_pages(np.array(pages_before), np.array(pages_after), elapsed)

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
        safe_pages = self._pool.available_pages // len(self.requests)
        dry = self._steps + max(1, safe_pages * self._pool.page_size)
        # An entry of a request that was aborted or retracted only makes this step too early.
        return min(dry, max(self._steps + 1, self._ends[0][0]))

    def pick_victim(self) -> Request | None:
        """The request to retract because the next step's pages do not fit, or None when they do.

        The one with most still to decode goes, as in sglang 0.4.6 `ScheduleBatch.retract_decode`.
        """
        page_size = self._pool.page_size
        needed = sum(request.kv_tokens % page_size == 0 for request in self.requests)
        if needed <= self._pool.available_pages:
            return None
        return max(self.requests, key=lambda request: (request.steps_left, request.ordinal))

    def _take_pages(
        self,
        pages_before: npt.NDArray[np.int64],
        pages_after: npt.NDArray[np.int64],
        elapsed: int,
    ) -> None:
        """Take and fill the pages of `elapsed` steps; both arrays are int64 [batch]."""
        page_size = self._pool.page_size
        counts = pages_after - pages_before
        total = int(counts.sum())
        index = np.repeat(np.arange(len(counts)), counts)
        nth = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        columns = pages_before[index] + nth
        tokens_before = np.array([request.kv_tokens - elapsed for request in self.requests])
        order = np.lexsort((index, columns * page_size - tokens_before[index]))
        index, columns = index[order], columns[order]

        ordinals = np.array([request.ordinal for request in self.requests], dtype=np.int64)
        rows = np.array([request.decode_row for request in self.requests], dtype=np.int64)
        tags = np.array([write_tag(each.ordinal, each.epoch) for each in self.requests])
        device = self._pool.device
        pages = self._pool.acquire_many(ordinals, counts, self._on(ordinals[index]))
        table = self._pool.table
        table.fit_columns(int(columns.max()) + 1)
        table.scatter(self._on(rows[index]), self._on(columns), pages)
        payload = payload_at(ordinals[index].view(np.uint64), columns)
        self._pool.storage.write(pages, self._on(payload), torch.from_numpy(tags[index]).to(device))
        self._pool.account.live_pages += total

    def _on(self, values: npt.NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._pool.device, non_blocking=True)
