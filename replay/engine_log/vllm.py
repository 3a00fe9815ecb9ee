"""vLLM's lines: statistics every ten seconds of each engine, expired holds.

    (APIServer pid=1) INFO 06-01 00:00:10 [loggers.py:335] Engine 000: Avg prompt throughput: ...

An engine that has had no throughput in two intervals is idle and logs at DEBUG, which servers do not
show: silence is no sign of health. `Waiting` counts `Deferred`, the requests whose KV is on its way.
The usage counts cached blocks that nobody uses as free. Sources: vllm 0.33.0 `v1/metrics/loggers.py`
(LoggingStatLogger.log), `envs.py` (VLLM_LOG_STATS_INTERVAL), the NIXL connector's `base_worker.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from replay.engine_log.pool_use import AuditRow, RunningBatch, Stretch
from replay.engine_log.queue_lengths import (
    ID_CHARACTERS_MAX,
    DecodeQueues,
    PrefillQueues,
    Requests,
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


class _Interval:
    """Tokens of the interval under way, and of the one before."""

    def __init__(self) -> None:
        self.prompt = self.generation = 0
        self.last = (0, 0)

    def close(self) -> tuple[bool, int, int]:
        """Whether the engine is idle by its own rule, and the tokens of the interval."""
        now = (self.prompt, self.generation)
        is_idle = not any((*now, *self.last))
        self.last, self.prompt, self.generation = now, 0, 0
        return is_idle, *now


class DecodeEngine:
    """The statistics of one decode engine, audit by audit."""

    def __init__(
        self, rank: LogRank, requests: Requests, queues: DecodeQueues, profile: dict[str, Any]
    ) -> None:
        self._rank, self._queues = rank, queues
        self._batch = RunningBatch(rank, requests, profile["page_size"])
        self._interval = _Interval()
        self._last: AuditRow | None = None
        self._next_us = INTERVAL_US

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
            self._interval.generation += running * (by_then - told)
            told = by_then
            yield from self._tell(used + self._batch.grown_tokens(told))
        self._interval.generation += running * (steps - told)

    def finish(self, end_us: int) -> Iterator[WrittenLine]:
        """What is left to say until the end of the replay."""
        last = self._last
        while last is not None and self._next_us <= end_us:
            yield from self._tell(self._rank.total_tokens - last.free)

    def _tell(self, used: int) -> Iterator[WrittenLine]:
        time_us, self._next_us = self._next_us, self._next_us + INTERVAL_US
        is_idle, _, generation = self._interval.close()
        if is_idle:
            return
        queues = self._queues
        fetching = queues.transfer.count(time_us)
        line = statistics(
            self._rank.dp_rank,
            prompt_throughput=0,
            generation_throughput=_per_second(generation),
            running=queues.running.count(time_us),
            queued=queues.prealloc.count(time_us) + queues.waiting.count(time_us) + fetching,
            fetching=fetching,
            usage=used / self._rank.total_tokens,
            cache="Prefix cache hit rate: 0.0%, External prefix cache hit rate: 100.0%",
        )
        yield api_line(time_us, "loggers.py:335", line)


class PrefillEngine:
    """The statistics of one prefill engine, audit by audit."""

    def __init__(
        self, rank: LogRank, requests: Requests, queues: PrefillQueues, profile: dict[str, Any]
    ) -> None:
        self._rank, self._queues = rank, queues
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
        self._interval = _Interval()
        self._last: AuditRow | None = None
        self._next_us = INTERVAL_US

    def until(self, row: AuditRow) -> Iterator[WrittenLine]:
        """Lines from the audit before up to this one."""
        last, self._last = self._last, row
        while last is not None and self._next_us < row.time_us:
            yield from self._tell(last)

    def finish(self, end_us: int) -> Iterator[WrittenLine]:
        """What is left to say until the end of the replay."""
        while self._last is not None and self._next_us <= end_us:
            yield from self._tell(self._last)

    def _tell(self, row: AuditRow) -> Iterator[WrittenLine]:
        time_us, self._next_us = self._next_us, self._next_us + INTERVAL_US
        done = int(np.searchsorted(self._computed, time_us, "right"))
        # The one token that a prompt is finished with counts as generated.
        self._interval.generation = done - self._counted
        self._interval.prompt = int(self._new_tokens[done] - self._new_tokens[self._counted])
        self._counted = done
        is_idle, prompt, generation = self._interval.close()
        if is_idle:
            return
        rate = self._hits[done] / max(1, self._queries[done])
        line = statistics(
            self._rank.dp_rank,
            prompt_throughput=_per_second(prompt),
            generation_throughput=_per_second(generation),
            running=self._queues.computing.count(time_us),
            queued=self._queues.waiting.count(time_us),
            fetching=0,
            usage=(self._rank.total_tokens - row.free) / self._rank.total_tokens,
            cache=f"Prefix cache hit rate: {rate:.1%}",
        )
        yield api_line(time_us, "loggers.py:335", line)


def _per_second(tokens: int) -> float:
    return tokens * 1e6 / INTERVAL_US


def expired_holds(rank: LogRank, requests: Requests, profile: dict[str, Any]) -> list[WrittenLine]:
    """The prompts whose hold ran out before anybody had said that they were read."""
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
