"""What SGLang's idle check says when it does not kill: as often as each version says it.

0.4.6.post3 warns through Python's `warnings` on every turn of the idle loop, which prints one text
once in the life of a process, without time or rank (`managers/scheduler.py`, check_memory). 0.5.23 logs
every thousandth time (`utils/common.py`, raise_error_or_warn), with both. A check that finds nothing
says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from replay.engine_log.audit_rows import AuditRow
from replay.engine_log.presence import DecodeQueues
from replay.engine_log.servers import Line, LogRank, tagged
from replay.recording.engine_messages import (
    PoolCounts,
    is_leak,
    request_pool_message,
    token_pool_message,
)

#: Idle turns between two warnings of one kind.
TURNS = 1_000

_WARNED_AT = "/sgl-workspace/sglang/python/sglang/srt/managers/scheduler.py"
#: Line numbers of the two warnings in 0.4.6.post3.
_TOKENS_LINE, _SLOTS_LINE = 1249, 1259


def check_messages(
    row: AuditRow, rank: LogRank, queues: DecodeQueues | None, profile: dict[str, Any]
) -> tuple[str | None, str | None]:
    """What the check has to say about tokens and about request slots."""
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

    def at(self, row: AuditRow) -> Iterator[Line]:
        """What is said while the rank idles after this audit."""
        if row.engine_check != "fired":
            return
        tokens, slots = check_messages(row, self._rank, self._queues, self._profile)
        if self._profile["message_style"] == "sglang-0.4":
            for text, number in ((tokens, _TOKENS_LINE), (slots, _SLOTS_LINE)):
                if text is not None and text not in self._said:
                    self._said.add(text)
                    warning = f"{_WARNED_AT}:{number}: UserWarning: {text}\n  warnings.warn(msg)"
                    yield from (Line(row.time_us, warning) for _ in self._rank.tags)
            return
        yield from self._repeated(row, (tokens, slots))

    def _repeated(self, row: AuditRow, texts: tuple[str | None, ...]) -> Iterator[Line]:
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
