"""Whether a gap that stayed grew over clean cycles of the same trace.

ends:  when healing ended | after the 1st clean cycle | ... | after the last
None      nothing was left at the end
unknown   fewer than three clean cycles: one or two steps can be chance
one-off   no wider at the end than when healing had ended
growing   wider, though nothing was injected any more
"""

from __future__ import annotations

from typing import Any

from replay.recording.audits import AuditSeries
from replay.recording.kinds import GROWTH_CYCLES_MIN


def growth_of(ends: list[int]) -> str | None:
    """Growth of a gap from its width in tokens at each of these ends."""
    if ends[-1] == 0:
        return None
    if len(ends) - 1 < GROWTH_CYCLES_MIN:
        return "unknown"
    return "growing" if abs(ends[-1]) > abs(ends[0]) else "one-off"


def growth_of_pools(run: dict[str, Any], audits: AuditSeries) -> dict[str, str | None]:
    """Growth of each pool's own gap."""
    ends = _gaps_at_ends(run, audits)
    return {pool: growth_of([end.get(pool, 0) for end in ends]) for pool in ends[-1]}


def growth_of_all(run: dict[str, Any], audits: AuditSeries) -> str | None:
    """Growth of all gaps together; leaks and over-frees do not cancel each other."""
    return growth_of([sum(abs(gap) for gap in end.values()) for end in _gaps_at_ends(run, audits)])


def gaps_at_end(audits: AuditSeries, phases: list[str]) -> dict[str, int]:
    """Each pool's gap in its last audit of these phases, which follow each other, in tokens."""
    gaps: dict[str, int] = {}
    for phase in phases:
        gaps |= audits.last_gaps.get(phase, {})
    return gaps


def _gaps_at_ends(run: dict[str, Any], audits: AuditSeries) -> list[dict[str, int]]:
    cycles = [phase["phase"] for phase in run["phases"] if phase["phase"].startswith("repeat-")]
    return [
        gaps_at_end(audits, ["inject", "heal", *cycles[:count]]) for count in range(len(cycles) + 1)
    ]
