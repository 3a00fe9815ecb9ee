"""How full a pool is: at each of its audits, and between two of them decode step by decode step.

Between two audits only decode lengths grow. A status line in between shows what the pool held at that
very step, so it is worked out as the allocator would have done it: a page whenever a request's tokens
pass the end of its last one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from replay.engine_log.queue_lengths import Requests
from replay.engine_log.servers import LogRank
from replay.recording.reader import Recording
from replay.recording.requests import NEVER

_COUNTS = ("audit", "time_us", "available", "evictable", "protected", "iterations")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One audit of one pool, counts in tokens."""

    audit: int
    time_us: int
    available: int
    evictable: int
    protected: int
    #: Iterations of the server since the pool's audit before.
    iterations: int
    #: none, ok or fired.
    engine_check: str
    #: The next audit of any pool of the server, or NEVER.
    next_us: int

    @property
    def free(self) -> int:
        """Tokens that can be allocated, evictable ones included."""
        return self.available + self.evictable


def audit_rows(recording: Recording, server: str, pool: str) -> Iterator[AuditRow]:
    """Read the audits of one pool as a stream.

    Raises:
        RecordingError: the table is missing or broken.
    """
    held: AuditRow | None = None
    for batch in recording.batches("audits", (*_COUNTS, "pool", "engine_check")):
        pools = batch.column("pool").to_pylist()
        of_server = np.array([each.startswith(f"{server}/") for each in pools], dtype=bool)
        rows = np.flatnonzero(of_server)
        counts = {name: batch.column(name).to_pylist() for name in _COUNTS}
        checks = batch.column("engine_check").to_pylist()
        for row in rows.tolist():
            time_us = counts["time_us"][row]
            if held is not None and (time_us > held.time_us or pools[row] == pool):
                yield dataclasses.replace(held, next_us=time_us)
                held = None
            if pools[row] == pool:
                values = {name: column[row] for name, column in counts.items()}
                held = AuditRow(**values, engine_check=checks[row], next_us=NEVER)
    if held is not None:
        yield held


class Stretch(NamedTuple):
    """A period in which the same requests run; `used_tokens` is at its start."""

    start_us: int
    end_us: int
    steps: int
    used_tokens: int


class RunningBatch:
    """The running requests of one decode rank, followed from audit to audit."""

    def __init__(self, rank: LogRank, requests: Requests, page_size: int) -> None:
        """Begin before anything runs."""
        running_us = requests.numbers["running_us"]
        self._order = np.flatnonzero(running_us >= 0)
        self._order = self._order[np.argsort(running_us[self._order], kind="stable")]
        self._running_us = running_us
        self._ended_us = requests.time("ended_us", NEVER)
        self._input_tokens = requests.numbers["input_tokens"]
        self._total_tokens, self._page_size = rank.total_tokens, page_size
        self._next = 0
        self._last: AuditRow | None = None
        #: Running requests, and the tokens that each has in the pool.
        self._members = np.empty(0, dtype=np.int64)
        self._tokens = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """How many run."""
        return len(self._members)

    def until(self, row: AuditRow) -> Iterator[Stretch]:
        """The stretches from the audit before up to this one; the batch is that of the latest."""
        last, self._last = self._last, row
        if last is None:
            return
        self._move_to(last.time_us)
        taken_us, start_us, done = row.time_us - last.time_us, last.time_us, 0
        # A change of the batch without an audit has left the counts as they were: one request began
        # with pages that it had, or what others grew by is just what one that ended gave back.
        for end_us in (*self._changes_between(start_us, row.time_us), row.time_us):
            steps = row.iterations * (end_us - last.time_us) // max(1, taken_us) - done
            yield Stretch(start_us, end_us, steps, self._total_tokens - last.free)
            self._tokens = self._tokens + steps
            self._move_to(end_us)
            start_us, done = end_us, done + steps

    def grown_tokens(self, steps: int) -> int:
        """Tokens of the pages that this many more steps take from the pool."""
        pages = self._pages(self._tokens + steps) - self._pages(self._tokens)
        return int(pages.sum()) * self._page_size

    def _move_to(self, time_us: int) -> None:
        """Add requests that have begun by then, and remove those that have ended."""
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

    def _changes_between(self, start_us: int, end_us: int) -> list[int]:
        """Times strictly between these at which a request begins or ends, each once."""
        times = set()
        for request in self._order[self._next :]:
            if self._running_us[request] >= end_us:
                break
            times |= {int(self._running_us[request]), int(self._ended_us[request])}
        times |= set(self._ended_us[self._members].tolist())
        return sorted(time_us for time_us in times if start_us < time_us < end_us)

    def _pages(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return -(-tokens // self._page_size)
