"""vLLM's lines: statistics every ten seconds of each engine, expired holds.

    (APIServer pid=1) INFO 06-01 00:00:10 [loggers.py:335] Engine 000: Avg prompt throughput: ...

An engine that has had no throughput in two intervals is idle and logs at DEBUG, which servers do not
show: silence is no sign of health. `Waiting` counts `Deferred`, the requests whose KV is on its way.
The usage counts cached blocks that nobody uses as free. Sources: vllm 0.33.0 `v1/metrics/loggers.py`
(LoggingStatLogger.log), `envs.py` (VLLM_LOG_STATS_INTERVAL), the NIXL connector's `base_worker.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np

from replay.engine_log.pool_use import AuditRow, RunningBatch, Stretch
from replay.engine_log.queue_lengths import (
    ID_CHARACTERS_MAX,
    DecodeQueues,
    PrefillQueues,
    Requests,
    prefill_queues,
)
from replay.engine_log.servers import LogRank, WrittenLine, clock
from replay.recording.requests import NEVER
from replay.server_lines.log_line import vllm_line
from replay.server_lines.vllm import expired_hold, statistics
from traces.text import shortened

INTERVAL_US = 10_000_000


def api_line(time_us: int, place: str, message: str) -> WrittenLine:
    """A line of the API server's process."""
    text = vllm_line("APIServer pid=1", "INFO", clock(time_us), place, message)
    return WrittenLine(time_us, text)


def core_line(time_us: int, rank: LogRank, level: str, place: str, message: str) -> WrittenLine:
    """A line of an engine core's process."""
    process = f"EngineCore_DP{rank.dp_rank} pid={100 + rank.dp_rank}"
    return WrittenLine(time_us, vllm_line(process, level, clock(time_us), place, message))


class _Requests(TypedDict):
    """The part of a status line that is about requests."""

    running: int
    queued: int
    fetching: int
    cache: str


class _Statistics:
    """Status lines every ten seconds; an engine without tokens in two intervals logs none."""

    def __init__(self, rank: LogRank) -> None:
        self._rank = rank
        self._last: AuditRow | None = None
        self._next_us = INTERVAL_US
        #: Tokens of the interval under way, and of the one before.
        self._prompt = self._generation = 0
        self._before = (0, 0)

    def finish(self, end_us: int) -> Iterator[WrittenLine]:
        """Lines from the last audit until the end of the log."""
        last = self._last
        while last is not None and self._next_us <= end_us:
            yield from self._tell(self._rank.total_tokens - last.free)

    def _tell(self, used: int) -> Iterator[WrittenLine]:
        time_us, self._next_us = self._next_us, self._next_us + INTERVAL_US
        requests = self._requests(time_us)
        now = prompt, generation = self._prompt, self._generation
        is_idle = not any((*now, *self._before))
        self._before, self._prompt, self._generation = now, 0, 0
        if is_idle:
            return
        line = statistics(
            self._rank.dp_rank,
            prompt_throughput=prompt * 1e6 / INTERVAL_US,
            generation_throughput=generation * 1e6 / INTERVAL_US,
            usage=used / self._rank.total_tokens,
            **requests,
        )
        yield api_line(time_us, "loggers.py:335", line)

    def _requests(self, time_us: int) -> _Requests:
        raise NotImplementedError


class DecodeEngine(_Statistics):
    """The statistics of one decode engine, audit by audit."""

    def __init__(
        self, rank: LogRank, requests: Requests, queues: DecodeQueues, profile: dict[str, Any]
    ) -> None:
        super().__init__(rank)
        self._queues = queues
        self._batch = RunningBatch(rank, requests, profile["page_size"])

    def until(self, row: AuditRow) -> Iterator[WrittenLine]:
        """Lines from the audit before up to this one."""
        self._last = row
        for stretch in self._batch.until(row):
            yield from self._decode(stretch)

    def _decode(self, stretch: Stretch) -> Iterator[WrittenLine]:
        start_us, end_us, steps, used = stretch
        running, told = len(self._batch), 0
        while start_us <= self._next_us < end_us:
            by_then = steps * (self._next_us - start_us) // (end_us - start_us)
            self._generation += running * (by_then - told)
            told = by_then
            yield from self._tell(used + self._batch.grown_tokens(told))
        self._generation += running * (steps - told)

    def _requests(self, time_us: int) -> _Requests:
        queues, fetching = self._queues, self._queues.transfer.count(time_us)
        return {
            "running": queues.running.count(time_us),
            "queued": queues.prealloc.count(time_us) + queues.waiting.count(time_us) + fetching,
            "fetching": fetching,
            "cache": "Prefix cache hit rate: 0.0%, External prefix cache hit rate: 100.0%",
        }


class PrefillEngine(_Statistics):
    """The statistics of one prefill engine, audit by audit."""

    def __init__(
        self, rank: LogRank, requests: Requests, queues: PrefillQueues, profile: dict[str, Any]
    ) -> None:
        super().__init__(rank)
        self._queues = queues
        computed = requests.numbers["in_flight_us"]
        known = np.flatnonzero(computed >= 0)
        order = known[np.argsort(computed[known], kind="stable")]
        self._computed = computed[order]
        inputs = requests.numbers["input_tokens"][order]
        hits = requests.numbers["prefix_pages"][order] * profile["page_size"]
        self._new_tokens = np.concatenate(([0], np.cumsum(np.maximum(0, inputs - hits))))
        self._hits = np.concatenate(([0], np.cumsum(hits)))
        self._queries = np.concatenate(([0], np.cumsum(inputs)))
        self._counted = 0

    def until(self, row: AuditRow) -> Iterator[WrittenLine]:
        """Lines from the audit before up to this one."""
        yield from self.finish(row.time_us - 1)
        self._last = row

    def _requests(self, time_us: int) -> _Requests:
        done = int(np.searchsorted(self._computed, time_us, "right"))
        # The one token that a prompt is finished with counts as generated.
        self._generation = done - self._counted
        self._prompt = int(self._new_tokens[done] - self._new_tokens[self._counted])
        self._counted = done
        return {
            "running": self._queues.computing.count(time_us),
            "queued": self._queues.waiting.count(time_us),
            "fetching": 0,
            "cache": f"Prefix cache hit rate: {self._hits[done] / max(1, self._queries[done]):.1%}",
        }


def rank_lines(
    rank: LogRank,
    requests: Requests,
    decode: DecodeQueues | None,
    profile: dict[str, Any],
    rows: Iterator[AuditRow],
    end_us: int,
) -> Iterator[WrittenLine]:
    """Everything that one engine logs, in order of time; `decode` is None for a prefill engine."""

    def status() -> Iterator[WrittenLine]:
        engine: DecodeEngine | PrefillEngine
        if decode is None:
            engine = PrefillEngine(rank, requests, prefill_queues(requests), profile)
        else:
            engine = DecodeEngine(rank, requests, decode, profile)
        for row in rows:
            yield from engine.until(row)
        yield from engine.finish(end_us)

    holds = expired_holds(rank, requests, profile) if decode is None else []
    return heapq.merge(status(), holds, key=lambda line: line.time_us)


def expired_holds(rank: LogRank, requests: Requests, profile: dict[str, Any]) -> list[WrittenLine]:
    """Lines of prompts whose hold expired before they were acknowledged."""
    timeout_us = profile["acknowledgement_timeout_us"]
    if timeout_us is None:
        return []
    since = requests.numbers["landed_us"]
    if profile["acknowledgement_timeout_from"] == "sent":
        since = requests.numbers["in_flight_us"]
    ended = requests.time("prefill_ended_us", NEVER)
    expired = (since >= 0) & (ended != NEVER) & (ended - since >= timeout_us)
    lines = []
    for row in np.flatnonzero(expired).tolist():
        request_id = shortened(requests.words["request_id"][row], ID_CHARACTERS_MAX)
        message = expired_hold(request_id)
        lines.append(core_line(int(ended[row]), rank, "WARNING", "base_worker.py:3370", message))
    return sorted(lines, key=lambda line: line.time_us)
