"""What a rank of SGLang logs: every fortieth decode, every prefill batch, failed checks and transfers.

Status lines are printed by the first of a rank's processes, failed checks by all. A check that passes
says nothing. One that fails and does not kill warns as often as each version does: 0.4.6.post3 through
Python's `warnings` on every turn of the idle loop, which prints one text once in the life of a process
(`managers/scheduler.py`, check_memory); 0.5.23 every thousandth time (`utils/common.py`,
raise_error_or_warn).

Sources: sglang 0.4.6.post4 `managers/scheduler.py` (log_decode_stats, get_new_batch_prefill,
log_prefill_stats; post3 has no `cuda graph`), `managers/scheduler_output_processor_mixin.py`,
`server_args.py` (decode_log_interval); 0.5.23 `managers/scheduler_components/metrics_reporter.py`
(report_decode_stats, report_prefill_stats).

Transfers: 0.4.6.post5 logs a line for each one that failed, with an exception that says nothing; post3
and post4 log none, they raise. 0.5.23 logs one for each transfer that failed, timed out or was aborted,
by every TP rank that knows the reason itself. Sources: 0.4.6.post5 `disaggregation/{decode,prefill}.py`,
`disaggregation/mooncake/conn.py` (failure_exception); 0.5.23 `disaggregation/{decode,prefill}.py`,
`disaggregation/common/conn.py` (KVTransferError).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from replay.engine_log.pool_use import AuditRow, RunningBatch, Stretch
from replay.engine_log.queue_lengths import DecodeQueues, PrefillQueues, Requests, prefill_queues
from replay.engine_log.servers import LogRank, Side, WrittenLine, tagged
from replay.recording.engine_messages import (
    PoolCounts,
    is_leak,
    request_pool_message,
    token_pool_message,
)
from replay.recording.requests import RequestRow
from replay.server_lines.sglang_checks import python_warning
from replay.server_lines.sglang_load import decode_batch, prefill_batch
from replay.server_lines.sglang_transfers import (
    ABORTED,
    PEER_DEAD,
    failed_transfer,
    forced_release,
    timed_out,
    transfer_error,
)

#: Decodes between two lines.
INTERVAL = 40
#: Idle turns between two warnings of one kind.
TURNS = 1_000
#: Line numbers of the two warnings in 0.4.6.post3.
_TOKENS_LINE, _SLOTS_LINE = 1249, 1259


class DecodeStatus:
    """The status lines of one decode rank, audit by audit."""

    def __init__(
        self, rank: LogRank, requests: Requests, queues: DecodeQueues, profile: dict[str, Any]
    ) -> None:
        self._rank, self._queues, self._profile = rank, queues, profile
        self._batch = RunningBatch(rank, requests, profile["page_size"])
        self._decodes = 0
        #: Tokens generated since the last line, and when that was.
        self._generated, self._told_us = 0, 0

    def until(self, row: AuditRow) -> Iterator[WrittenLine]:
        """Lines from the audit before up to this one."""
        for stretch in self._batch.until(row):
            yield from self._decode(stretch)

    def _decode(self, stretch: Stretch) -> Iterator[WrittenLine]:
        running = len(self._batch)
        start_us, end_us, steps, used = stretch
        if not running or not steps:
            return
        told = 0
        for step in range(INTERVAL - self._decodes % INTERVAL, steps + 1, INTERVAL):
            time_us = start_us + (end_us - start_us) * step // steps
            self._generated += running * (step - told)
            told = step
            yield self._line(time_us, running, used + self._batch.grown_tokens(step))
        self._generated += running * (steps - told)
        self._decodes += steps

    def _line(self, time_us: int, running: int, used: int) -> WrittenLine:
        queues, total = self._queues, self._rank.total_tokens
        elapsed_us = max(1, time_us - self._told_us)
        throughput = self._generated * 1e6 / elapsed_us
        self._generated, self._told_us = 0, time_us
        line = decode_batch(
            self._profile["message_style"],
            running=running,
            used_tokens=used,
            usage=used / total,
            preallocated_usage=queues.transfer.tokens(time_us) / total,
            prealloc=queues.prealloc.count(time_us),
            transferring=queues.transfer.count(time_us),
            queued=queues.waiting.count(time_us),
            throughput=throughput,
            has_cuda_graph=self._profile["name"] != "sglang-0.4.6.post3",
        )
        return tagged(time_us, self._rank.tags[0], line)


@dataclass(slots=True)
class _Prompt:
    """A prompt under computation."""

    tokens: int
    done: int


class PrefillStatus:
    """The status lines of one prefill rank, audit by audit.

    The usage is that of the moment before the batch takes its pages, with the prefixes that it found
    locked already.
    """

    def __init__(
        self, rank: LogRank, requests: Requests, queues: PrefillQueues, profile: dict[str, Any]
    ) -> None:
        self._rank, self._requests, self._queues = rank, requests, queues
        self._profile = profile
        starts = requests.numbers["prefill_start_us"]
        known = np.flatnonzero(starts >= 0)
        self._order = known[np.argsort(starts[known], kind="stable")]
        self._starts = starts
        self._next = 0
        #: The prompt with chunks left to compute.
        self._chunked: _Prompt | None = None
        self._told_us = 0

    def at(self, row: AuditRow) -> Iterator[WrittenLine]:
        """The line of the batch that was formed when this audit was made, if one was."""
        page_size = self._profile["page_size"]
        budget: int = self._profile["chunked_prefill_tokens"]
        batch: list[tuple[_Prompt, int]] = []
        if self._chunked is not None:
            budget -= _compute(self._chunked, budget, batch)
        cached = 0
        while self._next < len(self._order):
            request = self._order[self._next]
            if self._starts[request] > row.time_us:
                break
            self._next += 1
            prefix = int(self._requests.numbers["prefix_pages"][request]) * page_size
            prompt = _Prompt(int(self._requests.numbers["input_tokens"][request]), prefix)
            cached += prefix
            budget -= _compute(prompt, budget, batch)
        if not batch:
            return
        last = batch[-1][0]
        self._chunked = last if last.done < last.tokens else None
        taken = sum(
            -(-prompt.done // page_size) - -(-(prompt.done - tokens) // page_size)
            for prompt, tokens in batch
        )
        used = max(0, self._rank.total_tokens - row.free - taken * page_size)
        yield self._line(row.time_us, [tokens for _, tokens in batch], cached, used)

    def _line(self, time_us: int, chunks: list[int], cached: int, used: int) -> WrittenLine:
        queues = self._queues
        elapsed_us, self._told_us = max(1, time_us - self._told_us), time_us
        line = prefill_batch(
            self._profile["message_style"],
            prefilling=len(chunks),
            new_tokens=sum(chunks),
            cached_tokens=cached,
            usage=used / self._rank.total_tokens,
            bootstrapping=queues.bootstrap.count(time_us),
            queued=queues.waiting.count(time_us),
            queued_tokens=queues.waiting.tokens(time_us),
            inflight=queues.inflight.count(time_us),
            throughput=sum(chunks) * 1e6 / elapsed_us,
        )
        return tagged(time_us, self._rank.tags[0], line)


def _compute(prompt: _Prompt, budget: int, batch: list[tuple[_Prompt, int]]) -> int:
    """Put as much of a prompt into the batch as fits, and say how much that is."""
    tokens = max(0, min(budget, prompt.tokens - prompt.done))
    prompt.done += tokens
    batch.append((prompt, tokens))
    return tokens


def check_messages(
    row: AuditRow, rank: LogRank, queues: DecodeQueues | None, profile: dict[str, Any]
) -> tuple[str | None, str | None]:
    """The messages of the check about tokens and about request slots."""
    style = profile["message_style"]
    counts = PoolCounts(row.available, row.evictable, row.protected, rank.total_tokens)
    tokens = slots = None
    if is_leak(counts, profile["check_counts_protected"]):
        tokens = token_pool_message(style, counts)
    if queues is not None and (held := queues.slots.count(row.time_us)):
        total = profile["request_slots"]
        slots = request_pool_message(style, total - held, total)
    return tokens, slots


class CheckWarnings:
    """The warnings of one rank's processes, which all count the same."""

    def __init__(
        self, rank: LogRank, queues: DecodeQueues | None, profile: dict[str, Any], end_us: int
    ) -> None:
        self._rank, self._queues, self._profile = rank, queues, profile
        self._end_us = end_us
        self._said: set[str] = set()
        #: How often each of the two messages would have been logged.
        self._counts = [0, 0]

    def at(self, row: AuditRow) -> Iterator[WrittenLine]:
        """Warnings while the rank idles after this audit."""
        if row.engine_check != "fired":
            return
        tokens, slots = check_messages(row, self._rank, self._queues, self._profile)
        if self._profile["message_style"] == "sglang-0.4":
            for text, number in ((tokens, _TOKENS_LINE), (slots, _SLOTS_LINE)):
                if text is not None and text not in self._said:
                    self._said.add(text)
                    line = WrittenLine(row.time_us, python_warning(text, number))
                    yield from (line for _ in self._rank.tags)
            return
        yield from self._repeated(row, (tokens, slots))

    def _repeated(self, row: AuditRow, texts: tuple[str | None, ...]) -> Iterator[WrittenLine]:
        """Every thousandth of the turns that the loop makes until something happens."""
        period = self._profile["poll_interval_us"]
        until_us = min(row.next_us, self._end_us)
        if self._queues is not None:
            until_us = min(until_us, self._queues.prealloc.next_entry(row.time_us))
        turns = max(1, -(-(until_us - row.time_us) // period))
        due = []
        for kind, text in enumerate(texts):
            if text is None:
                continue
            first = -self._counts[kind] % TURNS
            self._counts[kind] += turns
            due += [(turn, kind, text) for turn in range(first, turns, TURNS)]
        for turn, _, text in sorted(due):
            time_us = row.time_us + turn * period
            yield from (tagged(time_us, tag, text) for tag in self._rank.tags)


def transfer_lines(
    side: Side, rank: LogRank, requests: Requests, profile: dict[str, Any]
) -> list[WrittenLine]:
    """The lines of one rank, in order of time."""
    is_old = profile["message_style"] == "sglang-0.4"
    if is_old and profile["failed_transfer"] == "raise":
        return []
    lines: list[WrittenLine] = []
    for request in requests.rows():
        if side == "decode":
            lines += _of_decode(request, rank, profile, is_old)
        else:
            lines += _of_prefill(request, rank, profile, is_old)
    return sorted(lines, key=lambda line: line.time_us)


def _of_decode(
    request: RequestRow, rank: LogRank, profile: dict[str, Any], is_old: bool
) -> list[WrittenLine]:
    given_up_us = request.gave_up_us if request.gave_up_us >= 0 else request.ended_us
    if request.consumed_us >= 0 or given_up_us < 0 or request.arrival_us == given_up_us:
        return []
    was_aborted = request.decode_state == "aborted"
    if request.decode_state not in ("aborted", "failed", "lost", "deferred"):
        return []
    what = "transfer" if request.preallocated_us >= 0 else "handshake"
    if is_old:
        if was_aborted:
            return []
        words = "Fake KVReceiver Exception"
        message = failed_transfer(
            f"Decode {what}", request.request_id, request.bootstrap_room, words
        )
        return [tagged(given_up_us, tag, message) for tag in rank.tags]
    reason = ABORTED if was_aborted else _decode_failure(request, given_up_us, profile)
    error = transfer_error(request.bootstrap_room, reason)
    lines = _failures(f"Decode {what}", request, error, given_up_us, rank)
    timeout_us, gave_up_us = profile["deferred_timeout_us"], request.gave_up_us
    if timeout_us is not None and 0 <= gave_up_us <= request.ended_us - timeout_us:
        late = forced_release(request.bootstrap_room, timeout_us / 1e6)
        lines += [tagged(request.ended_us, tag, late) for tag in rank.tags]
    return lines


def _decode_failure(request: RequestRow, given_up_us: int, profile: dict[str, Any]) -> str:
    """Why decode gave the transfer up, where no client had gone away."""
    waited_us = given_up_us - request.preallocated_us
    has_moved = 0 <= request.transfer_start_us <= given_up_us
    timeout_us = profile["waiting_timeout_us"]
    if not has_moved and timeout_us is not None and waited_us >= timeout_us:
        return timed_out(request.bootstrap_room, waited_us / 1e6, "WaitingForInput")
    timeout_us = profile["completion_timeout_us"]
    overdue_us = given_up_us - request.landed_us
    if request.landed_us >= 0 and timeout_us is not None and overdue_us >= timeout_us:
        # No SGLang bounds this wait; a profile that does says so in the same words.
        return timed_out(request.bootstrap_room, waited_us / 1e6, "Transferring")
    return PEER_DEAD


def _of_prefill(
    request: RequestRow, rank: LogRank, profile: dict[str, Any], is_old: bool
) -> list[WrittenLine]:
    ended_us = request.prefill_ended_us
    if request.prefill_state != "dropped" or ended_us < 0 or ended_us == request.arrival_us:
        return []
    started = request.prefill_start_us >= 0
    what = "Prefill transfer" if started else "Prefill bootstrap"
    if is_old:
        if request.decode_state == "aborted" or not started:
            return []
        return _failures(what, request, "Fake KVSender Exception", ended_us, rank)
    reason = ABORTED if request.decode_state == "aborted" else PEER_DEAD
    waited_us, timeout_us = ended_us - request.arrival_us, profile["bootstrap_timeout_us"]
    if not started and timeout_us is not None and waited_us >= timeout_us:
        reason = timed_out(request.bootstrap_room, waited_us / 1e6, "Bootstrapping")
    return _failures(what, request, transfer_error(request.bootstrap_room, reason), ended_us, rank)


def _failures(
    what: str, request: RequestRow, exception: str, time_us: int, rank: LogRank
) -> list[WrittenLine]:
    """One line from every TP rank, which names itself."""
    return [
        tagged(
            time_us,
            tag,
            failed_transfer(what, request.request_id, request.bootstrap_room, exception, tp_rank),
        )
        for tp_rank, tag in zip(rank.tp_ranks, rank.tags, strict=True)
    ]


def rank_lines(
    rank: LogRank,
    requests: Requests,
    decode: DecodeQueues | None,
    profile: dict[str, Any],
    rows: Iterator[AuditRow],
    end_us: int,
) -> Iterator[WrittenLine]:
    """Everything that a rank's processes log, in order of time; `decode` is None on prefill."""

    def status() -> Iterator[WrittenLine]:
        warns = profile["check_strictness"] == "warn"
        checks = CheckWarnings(rank, decode, profile, end_us)
        prefill = PrefillStatus(rank, requests, prefill_queues(requests), profile)
        running = None if decode is None else DecodeStatus(rank, requests, decode, profile)
        for row in rows:
            yield from prefill.at(row) if running is None else running.until(row)
            if warns:
                yield from checks.at(row)

    transfers = transfer_lines("prefill" if decode is None else "decode", rank, requests, profile)
    return heapq.merge(status(), transfers, key=lambda line: line.time_us)
