"""The audits of a recording read once, in order, in memory that does not grow with their number.

What a verdict needs of millions of audits is little: every stretch with a gap, where it opened, was
widest and closed, and what each pool's gap was when each phase ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from replay.recording.reader import BATCH_ROWS, Recording

_COLUMNS = ("audit", "time_us", "gap", "quiet", "iterations", "pool", "phase")


@dataclass(slots=True)
class GapSpan:
    """Consecutive audits of one pool with a gap, in tokens; grows until an audit closes it."""

    pool: str
    opened_audit: int
    opened_us: int
    widest_audit: int = -1
    gap_tokens: int = 0
    quiet_audit: int | None = None
    quiet_gap_tokens: int | None = None
    last_gap_tokens: int = 0
    closed_audit: int | None = None
    closed_us: int | None = None

    def extend(
        self,
        audit: npt.NDArray[np.int64],
        gap: npt.NDArray[np.int64],
        quiet: npt.NDArray[np.bool_],
    ) -> None:
        """Take in the audits that follow, all with a gap; of equally wide gaps the first counts."""
        widest = int(np.argmax(np.abs(gap)))
        if abs(int(gap[widest])) > abs(self.gap_tokens):
            self.widest_audit, self.gap_tokens = int(audit[widest]), int(gap[widest])
        at = np.flatnonzero(quiet)
        if at.size:
            widest = int(at[np.argmax(np.abs(gap[at]))])
            if abs(int(gap[widest])) > abs(self.quiet_gap_tokens or 0):
                self.quiet_audit, self.quiet_gap_tokens = int(audit[widest]), int(gap[widest])
        self.last_gap_tokens = int(gap[-1])


@dataclass(frozen=True, slots=True)
class AuditSeries:
    """What the audits of a recording amount to.

    Attributes:
        rows: audits.
        iterations: engine iterations they stand for.
        spans: stretches with a gap, by the time at which they open, then by pool: in which order
            two pools were audited at the same moment makes no difference.
        last_gaps: phase -> pool -> gap in the pool's last audit of the phase, in tokens.
        last_audits: phase -> number of its last audit.
    """

    rows: int
    iterations: int
    spans: tuple[GapSpan, ...]
    last_gaps: dict[str, dict[str, int]]
    last_audits: dict[str, int]


def read_audits(recording: Recording, batch_rows: int = BATCH_ROWS) -> AuditSeries:
    """Read all audits of a recording in the order of their numbers, `batch_rows` at a time.

    Raises:
        RecordingError: the table is missing or broken.
    """
    rows = iterations = 0
    spans: list[GapSpan] = []
    still_open: dict[str, GapSpan] = {}
    last_gaps: dict[str, dict[str, int]] = {}
    last_audits: dict[str, int] = {}
    for batch in audits_in_order(recording, _COLUMNS, batch_rows):
        columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in _COLUMNS[:5]}
        rows += batch.num_rows
        iterations += int(columns["iterations"].sum())
        pools, pool_codes = words_and_codes(batch.column("pool"))
        phases, phase_codes = words_and_codes(batch.column("phase"))
        for code, phase in enumerate(phases):
            if (at := np.flatnonzero(phase_codes == code)).size:
                last_audits[phase] = int(columns["audit"][at[-1]])
        for code, pool in enumerate(pools):
            mine = np.flatnonzero(pool_codes == code)
            if mine.size:
                of_pool = {name: values[mine] for name, values in columns.items()}
                _follow_gaps(pool, of_pool, still_open, spans)
                for phase_code in np.unique(phase_codes[mine]).tolist():
                    last = np.flatnonzero(phase_codes[mine] == phase_code)[-1]
                    of_phase = last_gaps.setdefault(phases[phase_code], {})
                    of_phase[pool] = int(of_pool["gap"][last])
    spans.sort(key=lambda span: (span.opened_us, span.pool, span.opened_audit))
    return AuditSeries(rows, iterations, tuple(spans), last_gaps, last_audits)


def _follow_gaps(
    pool: str,
    columns: dict[str, npt.NDArray[Any]],
    still_open: dict[str, GapSpan],
    spans: list[GapSpan],
) -> None:
    """Go through some more audits of one pool, opening and closing its spans."""
    audit, time_us, gap, quiet = (columns[name] for name in ("audit", "time_us", "gap", "quiet"))
    if pool in still_open and gap[0] == 0:
        _close(still_open.pop(pool), audit, time_us, 0)
    for start, end in _runs(gap != 0):
        span = still_open.pop(pool, None)
        if span is None:
            span = GapSpan(pool, int(audit[start]), int(time_us[start]))
            spans.append(span)
        span.extend(audit[start:end], gap[start:end], quiet[start:end])
        if end < len(gap):
            _close(span, audit, time_us, end)
        else:
            still_open[pool] = span


def _close(
    span: GapSpan, audit: npt.NDArray[np.int64], time_us: npt.NDArray[np.int64], at: int
) -> None:
    span.closed_audit, span.closed_us = int(audit[at]), int(time_us[at])


def audits_in_order(
    recording: Recording, columns: Sequence[str], batch_rows: int = BATCH_ROWS
) -> Iterator[Any]:
    """Batches in the order of the audit numbers, in which a replay has written them itself.

    Raises:
        RecordingError: the table is missing or broken.
    """
    last = -1
    for batch in recording.batches("audits", ("audit",), batch_rows):
        numbers = batch.column("audit").to_numpy()
        if numbers.size and (numbers[0] < last or bool((numbers[1:] < numbers[:-1]).any())):
            # Somebody else has written it anew: such a table has to be held whole.
            table = recording.table("audits").sort_by([("audit", "ascending")])
            yield from table.select(list(columns)).to_batches()
            return
        last = int(numbers[-1]) if numbers.size else last
    yield from recording.batches("audits", columns, batch_rows)


def words_and_codes(column: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
    """A column of words as its distinct words and, for each row, which of them."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words: list[str] = encoded.dictionary.to_pylist()
    return words, encoded.indices.to_numpy(zero_copy_only=False)


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of True as (start, end), end exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
