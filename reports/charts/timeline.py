"""What the charts of one recording draw: series, phases and fault marks, already reduced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from reports.charts.steps import Steps, pool_steps, total_steps
from reports.evidence import Evidence

#: Small multiples on one page; more pools than this are named in the caption.
POOLS_MAX = 12

#: An episode shorter than this part of the replay gets a closer look of its own.
_CLOSER_BELOW = 0.25


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of virtual time with a name."""

    name: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class FaultMark:
    """A faulted delivery: sent, and delivered or lost."""

    fault: str
    sent_us: int
    delivered_us: int | None
    #: Whether it was for the pool of the chart.
    here: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """One pool over one window of virtual time."""

    pool: str
    total_tokens: int
    window: Span
    gap: Steps
    available: Steps
    phases: tuple[Span, ...]
    marks: tuple[FaultMark, ...]


@dataclass(frozen=True, slots=True)
class PoolGaps:
    """The gap of every pool that has one, the widest first, and their sum."""

    window: Span
    pools: tuple[tuple[str, Steps], ...]
    total: Steps
    #: Pools with a gap beyond those given.
    left_out: int
    phases: tuple[Span, ...]


def pool_timeline(evidence: Evidence, pool: str, window: Span) -> Timeline:
    """Available and gap of one pool in a window, with the fault marks that fall into it."""
    audits = evidence.tables["audits"]
    total = next(each for each in evidence.run["pools"] if each["pool"] == pool)["total_tokens"]

    def within(column: str) -> Steps:
        return pool_steps(audits, pool, column).window(window.start_us, window.end_us)

    return Timeline(
        pool=pool,
        total_tokens=total,
        window=window,
        gap=within("gap"),
        available=within("available"),
        phases=phases(evidence, window),
        marks=tuple(
            mark
            for mark in _marks(evidence.tables["events"], pool)
            if window.start_us <= mark.sent_us <= window.end_us
            or window.start_us <= (mark.delivered_us or mark.sent_us) <= window.end_us
        ),
    )


def whole(evidence: Evidence) -> Span:
    """The whole replay; at least a microsecond, so that it can be drawn."""
    return Span("the whole replay", 0, max(evidence.end_us, 1))


def closer(evidence: Evidence) -> Span | None:
    """A window around the worst episode, or None when the whole replay shows it well enough."""
    worst = evidence.worst
    if worst is None or worst.closed_us is None:
        return None
    length = max(worst.closed_us - worst.opened_us, 1_000)
    if length > _CLOSER_BELOW * evidence.end_us:
        return None
    start = max(worst.opened_us - length // 2, 0)
    end = min(worst.closed_us + length // 2, evidence.end_us)
    return Span("around the episode", start, end)


def pool_gaps(evidence: Evidence) -> PoolGaps:
    """Every pool's gap over the whole replay."""
    audits = evidence.tables["audits"]
    faulty = audits.filter(pc.not_equal(audits["gap"], 0))
    window = whole(evidence)
    series = {
        pool: pool_steps(audits, pool, "gap").window(window.start_us, window.end_us)
        for pool in sorted(pc.unique(faulty["pool"]).to_pylist())
    }
    widest: Callable[[str], int] = lambda pool: max(map(abs, series[pool].extremes()))  # noqa: E731
    ranked = sorted(series, key=widest, reverse=True)
    return PoolGaps(
        window=window,
        pools=tuple((pool, series[pool]) for pool in ranked[:POOLS_MAX]),
        total=total_steps(series),
        left_out=max(len(ranked) - POOLS_MAX, 0),
        phases=phases(evidence, window),
    )


def phases(evidence: Evidence, window: Span) -> tuple[Span, ...]:
    """The phases that take time within a window, cut to it."""
    cut = (
        Span(
            phase["phase"],
            max(phase["start_us"], window.start_us),
            min(phase["end_us"], window.end_us),
        )
        for phase in evidence.run["phases"]
    )
    return tuple(span for span in cut if span.start_us < span.end_us)


def _marks(events: Any, pool: str) -> list[FaultMark]:
    touched = events.filter(events["rule"].is_valid())
    names = ("fault", "sent_us", "delivered_us", "pool")
    columns = [touched[name].to_pylist() for name in names]
    return [
        FaultMark(fault, sent_us, delivered_us, where == pool)
        for fault, sent_us, delivered_us, where in zip(*columns, strict=True)
    ]
