"""Where a chart shows every audit: around episodes, the worst first, as far as the points allow.

An episode may last for most of a replay, and there may be thousands. So each first gets the audits
around its opening, its widest point and its close; then, while there are points left, all that lie
between. What is drawn elsewhere is an envelope, which loses no extreme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from replay.verdict.episodes import Episode
from reports.drawings.series import Readings
from reports.drawings.steps import NO_WINDOWS, POINTS_PER_COLUMN, Integers

#: Audits shown before and after each moment of an episode.
AUDITS_AROUND = 40


@dataclass(frozen=True, slots=True)
class Detail:
    """The windows of each pool in which every change is drawn, and what they cover."""

    windows: dict[str, Integers]
    #: Episodes with every audit around their moments; those of them with every audit throughout.
    around: int
    throughout: int
    episodes: int


def choose_detail(
    episodes: Sequence[Episode],
    readings: Readings,
    drawn: Mapping[str, Sequence[str]],
    points: int,
) -> Detail:
    """Choose windows whose changes, of the columns drawn of each pool, are at most `points`."""
    costs = {pool: _Costs.of(readings, pool, columns) for pool, columns in drawn.items()}
    drawn_ones = (each for each in episodes if each.pool in costs)
    ranked = sorted(drawn_ones, key=lambda each: each.badness, reverse=True)
    chosen: dict[int, list[tuple[int, int]]] = {}
    left = points
    for attempt in (_moments, _whole):
        for episode in ranked:
            cost, before = costs[episode.pool], chosen.get(episode.number, [])
            if attempt is _whole and not before:
                continue
            spans = attempt(episode, cost)
            extra = cost.points(spans) - cost.points(before)
            if extra <= left:
                left -= extra
                chosen[episode.number] = spans
    throughout = sum(
        chosen.get(episode.number) == _whole(episode, costs[episode.pool]) for episode in ranked
    )
    by_pool: dict[str, list[tuple[int, int]]] = {pool: [] for pool in drawn}
    for episode in ranked:
        by_pool[episode.pool] += chosen.get(episode.number, [])
    windows = {pool: costs[pool].windows(spans) for pool, spans in by_pool.items()}
    return Detail(windows, len(chosen), throughout, len(episodes))


@dataclass(frozen=True, slots=True)
class _Costs:
    """How many points it takes to draw every change between two audits of a pool."""

    audit: Integers
    time_us: Integers
    #: Changes of the drawn columns before each audit.
    changes: Integers
    columns: int

    @classmethod
    def of(cls, readings: Readings, pool: str, columns: Sequence[str]) -> _Costs:
        audit = readings.numbers(pool, "audit")
        changes = np.zeros(len(audit) + 1, np.int64)
        for column in columns:
            values = readings.numbers(pool, column)
            changes[1:] += np.diff(values, prepend=values[:1]) != 0
        time_us = readings.numbers(pool, "time_us")
        return cls(audit, time_us, np.cumsum(changes), len(columns))

    def place(self, audit: int | None) -> int:
        """The row of an audit; without one, the last."""
        last = len(self.audit) - 1
        return last if audit is None else min(int(np.searchsorted(self.audit, audit)), last)

    def points(self, spans: Sequence[tuple[int, int]]) -> int:
        """What spans of rows cost, with the envelope's points at their edges."""
        changes = sum(int(self.changes[end + 1] - self.changes[start]) for start, end in spans)
        return changes + 2 * POINTS_PER_COLUMN * self.columns * len(spans)

    def windows(self, spans: Sequence[tuple[int, int]]) -> Integers:
        """Spans of rows as windows of time, joined where they touch."""
        joined = _joined(spans)
        if not joined:
            return NO_WINDOWS
        found: Integers = self.time_us[np.array(joined, np.int64)]
        # Rows apart may still have the same time.
        apart = np.flatnonzero(found[1:, 0] > found[:-1, 1]) + 1
        starts = np.concatenate(([0], apart))
        ends = np.concatenate((apart, [len(found)])) - 1
        return np.stack((found[starts, 0], found[ends, 1]), axis=1)


def _moments(episode: Episode, costs: _Costs) -> list[tuple[int, int]]:
    audits = (episode.opened_audit, episode.widest_audit, episode.closed_audit)
    return _joined([_reach(costs.place(audit), costs.place(audit), costs) for audit in audits])


def _whole(episode: Episode, costs: _Costs) -> list[tuple[int, int]]:
    opened, closed = costs.place(episode.opened_audit), costs.place(episode.closed_audit)
    return [_reach(opened, closed, costs)]


def _reach(first: int, last: int, costs: _Costs) -> tuple[int, int]:
    return max(first - AUDITS_AROUND, 0), min(last + AUDITS_AROUND, len(costs.audit) - 1)


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap or touch as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
