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

from replay.engine_log.audit_rows import AuditRow
from replay.engine_log.decode_growth import RunningBatch
from replay.engine_log.presence import (
    ID_CHARACTERS_MAX,
    DecodeQueues,
    PrefillQueues,
    Requests,
)
from replay.engine_log.servers import Line, LogRank, stamp
from replay.recording.requests import NEVER
from traces.text import shortened

INTERVAL_US = 10_000_000


def api_line(time_us: int, level: str, place: str, message: str) -> Line:
    """A line of the API server's process."""
    head = f"(APIServer pid=1) {level} {stamp(time_us, '%m-%d %H:%M:%S')} [{place}] "
    return Line(time_us, head + message)


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
        self._batch = RunningBatch(requests, profile["page_size"])
        self._interval = _Interval()
        self._last: AuditRow | None = None
        self._next_us = INTERVAL_US

    def until(self, row: AuditRow) -> Iterator[Line]:
        """Lines from the audit before up to this one."""
        last, self._last = self._last, row
        if last is None:
            return
        self._batch.move_to(last.time_us)
        used = self._rank.total_tokens - last.available - last.evictable
        taken_us, start_us, done = max(1, row.time_us - last.time_us), last.time_us, 0
        # As in SGLang's status lines: a change of the batch without an audit changes no count.
        for end_us in (*self._batch.changes_between(start_us, row.time_us), row.time_us):
            steps = row.iterations * (end_us - last.time_us) // taken_us - done
            yield from self._decode(start_us, end_us, steps, used)
            self._batch.move_to(end_us)
            start_us, done = end_us, done + steps

    def _decode(self, start_us: int, end_us: int, steps: int, used: int) -> Iterator[Line]:
        """Lines of a stretch in which the same requests run, from `used` tokens on."""
        running, told = len(self._batch), 0
        while start_us <= self._next_us < end_us:
            by_then = steps * (self._next_us - start_us) // (end_us - start_us)
            self._interval.generation += running * (by_then - told)
            told = by_then
            yield from self._tell(used + self._batch.grown_tokens(told))
        self._interval.generation += running * (steps - told)
        self._batch.step(steps)

    def finish(self, end_us: int) -> Iterator[Line]:
        """What is left to say until the end of the replay."""
        last = self._last
        while last is not None and self._next_us <= end_us:
            yield from self._tell(self._rank.total_tokens - last.available - last.evictable)

    def _tell(self, used: int) -> Iterator[Line]:
        time_us, self._next_us = self._next_us, self._next_us + INTERVAL_US
        is_idle, _, generation = self._interval.close()
        queues = self._queues
        fetching = queues.transfer.count(time_us)
        ready = queues.waiting.count(time_us)
        if not is_idle:
            yield api_line(
                time_us,
                "INFO",
                "loggers.py:335",
                _statistics(
                    self._rank,
                    (0, generation),
                    queues.running.count(time_us),
                    queues.prealloc.count(time_us) + ready,
                    fetching,
                    used,
                    ", Prefix cache hit rate: 0.0%, External prefix cache hit rate: 100.0%",
                ),
            )


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

    def until(self, row: AuditRow) -> Iterator[Line]:
        """Lines from the audit before up to this one."""
        last, self._last = self._last, row
        while last is not None and self._next_us < row.time_us:
            yield from self._tell(last)

    def finish(self, end_us: int) -> Iterator[Line]:
        """What is left to say until the end of the replay."""
        while self._last is not None and self._next_us <= end_us:
            yield from self._tell(self._last)

    def _tell(self, row: AuditRow) -> Iterator[Line]:
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
        yield api_line(
            time_us,
            "INFO",
            "loggers.py:335",
            _statistics(
                self._rank,
                (prompt, generation),
                self._queues.computing.count(time_us),
                self._queues.waiting.count(time_us),
                0,
                self._rank.total_tokens - row.available - row.evictable,
                f", Prefix cache hit rate: {rate:.1%}",
            ),
        )


def _statistics(
    rank: LogRank,
    tokens: tuple[int, int],
    running: int,
    waiting: int,
    fetching: int,
    used: int,
    cache: str,
) -> str:
    """One line of statistics; the parts about fetches are there only while there are some."""
    prompt, generation = (each * 1e6 / INTERVAL_US for each in tokens)
    deferred = ""
    if fetching:
        deferred = (
            f"Deferred: {fetching} reqs, KV fetch: 0 waiting to start, {fetching} in progress, "
            "0 completed waiting, "
        )
    return (
        f"Engine {rank.dp_rank:03d}: Avg prompt throughput: {prompt:.1f} tokens/s, "
        f"Avg generation throughput: {generation:.1f} tokens/s, Running: {running} reqs, "
        f"Waiting: {waiting + fetching} reqs, {deferred}GPU KV cache usage: "
        f"{used / rank.total_tokens:.1%}{cache}"
    )


def expired_holds(rank: LogRank, requests: Requests, profile: dict[str, Any]) -> list[Line]:
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
        head = (
            f"(EngineCore_DP{rank.dp_rank} pid={100 + rank.dp_rank}) WARNING "
            f"{stamp(int(ended[row]), '%m-%d %H:%M:%S')} [base_worker.py:3370] "
        )
        message = (
            f"Releasing expired KV blocks for request {request_id} which "
            "were retrieved by 0 remote worker(s) before lease expired."
        )
        lines.append(Line(int(ended[row]), head + message))
    return sorted(lines, key=lambda line: line.time_us)
