"""What a decode rank's running requests take between two audits, step by step.

Between two audits only decode lengths grow. A status line in between shows what the pool held at that
very step, so it is worked out as the allocator would have done it: a page whenever a request's tokens
pass the end of its last one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from replay.engine_log.presence import Requests
from replay.recording.requests import NEVER


class RunningBatch:
    """The running requests of one decode rank, followed from audit to audit."""

    def __init__(self, requests: Requests, page_size: int) -> None:
        """Begin before anything runs."""
        running_us = requests.numbers["running_us"]
        self._order = np.flatnonzero(running_us >= 0)
        self._order = self._order[np.argsort(running_us[self._order], kind="stable")]
        self._running_us = running_us
        self._ended_us = requests.time("ended_us", NEVER)
        self._input_tokens = requests.numbers["input_tokens"]
        self._page_size = page_size
        self._next = 0
        #: Who runs, and how many tokens each has in the pool.
        self._members = np.empty(0, dtype=np.int64)
        self._tokens = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """How many run."""
        return len(self._members)

    def move_to(self, time_us: int) -> None:
        """Take in who has begun by then, and let go of who has ended."""
        stays = self._ended_us[self._members] > time_us
        self._members, self._tokens = self._members[stays], self._tokens[stays]
        came = []
        while self._next < len(self._order):
            request = self._order[self._next]
            if self._running_us[request] > time_us:
                break
            self._next += 1
            if self._ended_us[request] > time_us:
                came.append(request)
        if came:
            self._members = np.concatenate((self._members, came))
            self._tokens = np.concatenate((self._tokens, self._input_tokens[came]))

    def changes_between(self, start_us: int, end_us: int) -> list[int]:
        """When somebody begins or ends after the one time and before the other, each time once."""
        times = set()
        for request in self._order[self._next :]:
            if self._running_us[request] >= end_us:
                break
            times |= {int(self._running_us[request]), int(self._ended_us[request])}
        times |= set(self._ended_us[self._members].tolist())
        return sorted(time_us for time_us in times if start_us < time_us < end_us)

    def grown_tokens(self, steps: int) -> int:
        """Tokens of pages that so many more steps take from the pool."""
        pages = self._pages(self._tokens + steps) - self._pages(self._tokens)
        return int(pages.sum()) * self._page_size

    def step(self, steps: int) -> None:
        """Decode so many steps."""
        self._tokens = self._tokens + steps

    def _pages(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return -(-tokens // self._page_size)
