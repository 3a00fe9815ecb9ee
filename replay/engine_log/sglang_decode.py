"""SGLang's `Decode batch` lines: every fortieth decode of a rank, by the first of its processes.

Sources: sglang 0.4.6.post4 `managers/scheduler.py` (log_decode_stats; post3 has no `cuda graph`),
`managers/scheduler_output_processor_mixin.py`, `server_args.py` (decode_log_interval); 0.5.23
`managers/scheduler_components/metrics_reporter.py` (report_decode_stats).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from replay.engine_log.audit_rows import AuditRow
from replay.engine_log.decode_growth import RunningBatch
from replay.engine_log.presence import DecodeQueues, Requests
from replay.engine_log.servers import Line, LogRank, tagged

#: Decodes between two lines.
INTERVAL = 40


class DecodeStatus:
    """The status lines of one decode rank, audit by audit."""

    def __init__(
        self, rank: LogRank, requests: Requests, queues: DecodeQueues, profile: dict[str, Any]
    ) -> None:
        self._rank, self._queues, self._profile = rank, queues, profile
        self._batch = RunningBatch(requests, profile["page_size"])
        self._decodes = 0
        self._last: AuditRow | None = None
        #: Tokens generated since the last line, and when that was.
        self._generated, self._told_us = 0, 0

    def until(self, row: AuditRow) -> Iterator[Line]:
        """Lines from the audit before up to this one."""
        last, self._last = self._last, row
        if last is None:
            return
        self._batch.move_to(last.time_us)
        used = self._rank.total_tokens - last.available - last.evictable
        taken_us, start_us, done = row.time_us - last.time_us, last.time_us, 0
        # A change of the batch without an audit has left the counts as they were: one request began
        # with pages that it had, or what others grew by is just what one that ended gave back.
        for end_us in (*self._batch.changes_between(start_us, row.time_us), row.time_us):
            steps = row.iterations * (end_us - last.time_us) // max(1, taken_us) - done
            yield from self._decode(start_us, end_us, steps, used)
            self._batch.move_to(end_us)
            start_us, done = end_us, done + steps

    def _decode(self, start_us: int, end_us: int, steps: int, used: int) -> Iterator[Line]:
        """Lines of a stretch in which the same requests run, from `used` tokens on."""
        running = len(self._batch)
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
        self._batch.step(steps)

    def _line(self, time_us: int, running: int, used: int) -> Line:
        profile, queues, total = self._profile, self._queues, self._rank.total_tokens
        elapsed_us = max(1, time_us - self._told_us)
        throughput = self._generated * 1e6 / elapsed_us
        self._generated, self._told_us = 0, time_us
        is_old = profile["message_style"] == "sglang-0.4"
        parts = [
            f"Decode batch{'.' if is_old else ','} #running-req: {running}",
            f"#token: {used}",
            f"token usage: {used / total:.2f}",
            f"pre-allocated usage: {queues.transfer.tokens(time_us) / total:.2f}",
        ]
        if not is_old:
            parts += [
                f"#prealloc-req: {queues.prealloc.count(time_us)}",
                f"#transfer-req: {queues.transfer.count(time_us)}",
                "#retracted-req: 0",
            ]
        if profile["name"] != "sglang-0.4.6.post3":
            parts.append("cuda graph: True")
        parts += [
            f"gen throughput (token/s): {throughput:.2f}",
            f"#queue-req: {queues.waiting.count(time_us)}",
        ]
        return tagged(time_us, self._rank.tags[0], ", ".join(parts))
