"""SGLang's `Prefill batch` lines: one for each batch, by the first of a rank's processes.

The usage is that of the moment before the batch takes its pages, with the prefixes that it found
locked already. Sources: sglang 0.4.6.post4 `managers/scheduler.py` (get_new_batch_prefill,
log_prefill_stats); 0.5.23 `managers/scheduler_components/metrics_reporter.py` (report_prefill_stats).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from replay.engine_log.audit_rows import AuditRow
from replay.engine_log.presence import PrefillQueues, Requests
from replay.engine_log.servers import Line, LogRank, tagged


@dataclass(slots=True)
class _Prompt:
    """A prompt under computation."""

    tokens: int
    done: int


class PrefillStatus:
    """The status lines of one prefill rank, audit by audit."""

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
        #: The prompt of which chunks are left to compute.
        self._chunked: _Prompt | None = None
        self._told_us = 0

    def at(self, row: AuditRow) -> Iterator[Line]:
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
        new_tokens = sum(tokens for _, tokens in batch)
        taken = sum(
            -(-prompt.done // page_size) - -(-(prompt.done - tokens) // page_size)
            for prompt, tokens in batch
        )
        used = self._rank.total_tokens - row.available - row.evictable - taken * page_size
        yield self._line(row.time_us, len(batch), new_tokens, cached, max(0, used))

    def _line(self, time_us: int, sequences: int, tokens: int, cached: int, used: int) -> Line:
        queues = self._queues
        is_old = self._profile["message_style"] == "sglang-0.4"
        head = (
            f"Prefill batch{'.' if is_old else ','} #new-seq: {sequences}, #new-token: {tokens}, "
            f"#cached-token: {cached}, token usage: {used / self._rank.total_tokens:.2f}, "
            "#running-req: 0, "
        )
        bootstrap, waiting = queues.bootstrap.count(time_us), queues.waiting.count(time_us)
        inflight = queues.inflight.count(time_us)
        elapsed_us, self._told_us = max(1, time_us - self._told_us), time_us
        if is_old:
            # It ends in a space.
            tail = (
                f"#unbootstrapped-req: {bootstrap}, #queue-req: {waiting}, "
                f"#transferring-req: {inflight} "
            )
        else:
            tail = (
                f"#queue-req: {waiting}, #pending-token: {queues.waiting.tokens(time_us)}, "
                f"#bootstrap-req: {bootstrap}, #inflight-req: {inflight}, #optimistic-req: 0, "
                f"cuda graph: False, input throughput (token/s): {tokens * 1e6 / elapsed_us:.2f}"
            )
        return tagged(time_us, self._rank.tags[0], head + tail)


def _compute(prompt: _Prompt, budget: int, batch: list[tuple[_Prompt, int]]) -> int:
    """Put as much of a prompt into the batch as fits, and say how much that is."""
    tokens = max(0, min(budget, prompt.tokens - prompt.done))
    prompt.done += tokens
    batch.append((prompt, tokens))
    return tokens
