"""What the charts of one recording draw: a pool's series, every pool's gap, phases, fault marks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from reports.drawings.series import (
    AVAILABLE,
    GAP,
    HOLDERS,
    Marks,
    Readings,
    Series,
    read,
    read_marks,
)
from reports.drawings.step_chart import SMALL, Chart, Line, Panel, Size, time_axis, value_axis
from reports.drawings.steps import Span, Steps, total_steps
from reports.evidence import Evidence

#: Small multiples on one page; more pools than this are named in the caption.
POOLS_MAX = 12

#: An episode shorter than this part of the replay gets a closer look of its own.
_CLOSER_BELOW = 0.25


@dataclass(frozen=True, slots=True)
class Timeline:
    """One pool over one window of virtual time."""

    pool: str
    total_tokens: int
    window: Span
    #: What is drawn, by the column of the audits it comes from.
    steps: dict[str, Steps]
    #: Who holds tokens at any time, as drawn; and those left out because they never do.
    holders: tuple[Series, ...]
    never: tuple[Series, ...]
    phases: tuple[Span, ...]
    marks: Marks

    @property
    def series(self) -> tuple[Series, ...]:
        """Everything that is drawn, in the order of the panels."""
        return (GAP, AVAILABLE, *self.holders)


@dataclass(frozen=True, slots=True)
class PoolGaps:
    """The gap of every pool that has one, the widest first, and their sum."""

    window: Span
    pools: tuple[tuple[str, Steps], ...]
    total: Steps
    #: Pools with a gap beyond those given.
    left_out: int
    phases: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """All that the charts of one recording are drawn from."""

    readings: Readings
    whole: Timeline
    #: A closer look at the worst episode; None where the whole shows it well enough.
    closer: Timeline | None
    #: None where fewer than two pools have a gap.
    gaps: PoolGaps | None


def make_story(evidence: Evidence) -> Story | None:
    """Read a recording for its charts; None where there was no audit at all."""
    readings = read(evidence.tables["audits"])
    pool = pool_of_interest(evidence, readings)
    if pool is None:
        return None
    everything = _whole(evidence)
    timeline = pool_timeline(evidence, readings, pool, everything)
    window = _closer(evidence)
    gaps = pool_gaps(evidence, readings, everything)
    return Story(
        readings=readings,
        whole=timeline,
        closer=None if window is None else cut(evidence, timeline, window),
        gaps=gaps if len(gaps.pools) > 1 else None,
    )


def pool_of_interest(evidence: Evidence, readings: Readings) -> str | None:
    """The pool of the mismatch; without one, the busiest decode pool."""
    if (mismatch := evidence.summary["mismatch"]) is not None:
        pool: str = mismatch["pool"]
        return pool
    decode = set(evidence.tables["requests"]["decode_pool"].unique().to_pylist())
    pools = [pool for pool in readings.rows if pool in decode] or list(readings.rows)

    def peak(pool: str) -> int:
        return int((readings.numbers(pool, "live") + readings.numbers(pool, "in_transfer")).max())

    return max(pools, key=peak, default=None)


def pool_timeline(evidence: Evidence, readings: Readings, pool: str, window: Span) -> Timeline:
    """One pool's series over the whole replay."""
    total = next(each for each in evidence.run["pools"] if each["pool"] == pool)["total_tokens"]
    steps = {
        series.column: readings.steps(pool, series.column).window(window.start_us, window.end_us)
        for series in (GAP, AVAILABLE, *HOLDERS)
    }
    ever = {column for column, each in steps.items() if each.value.any()}
    holders = tuple(series for series in HOLDERS if series.column in ever)
    return Timeline(
        pool=pool,
        total_tokens=total,
        window=window,
        steps={series.column: steps[series.column] for series in (GAP, AVAILABLE, *holders)},
        holders=holders,
        never=tuple(series for series in HOLDERS if series.column not in ever),
        phases=phases(evidence, window),
        marks=read_marks(evidence.tables["events"], pool),
    )


def cut(evidence: Evidence, timeline: Timeline, window: Span) -> Timeline:
    """The same pool over a part of the time."""
    start_us, end_us = window.start_us, window.end_us
    return replace(
        timeline,
        window=window,
        steps={column: each.window(start_us, end_us) for column, each in timeline.steps.items()},
        phases=phases(evidence, window),
        marks=timeline.marks.window(start_us, end_us),
    )


def _whole(evidence: Evidence) -> Span:
    """The whole replay; at least a microsecond, so that it can be drawn."""
    times = evidence.tables["audits"]["time_us"].to_numpy()
    return Span("", 0, max(evidence.end_us, int(times.max()), 1))


def _closer(evidence: Evidence) -> Span | None:
    worst = evidence.worst
    if worst is None or worst.closed_us is None:
        return None
    length = max(worst.closed_us - worst.opened_us, 1_000)
    if length > _CLOSER_BELOW * evidence.end_us:
        return None
    start = max(worst.opened_us - length // 2, 0)
    end = min(worst.closed_us + length // 2, evidence.end_us)
    return Span("around the episode", start, end)


def pool_gaps(evidence: Evidence, readings: Readings, window: Span) -> PoolGaps:
    """Every pool's gap over the whole replay."""
    series = {
        pool: readings.steps(pool, "gap").window(window.start_us, window.end_us)
        for pool in readings.rows
        if np.any(readings.numbers(pool, "gap"))
    }
    ranked = sorted(series, key=lambda pool: max(map(abs, series[pool].extremes())), reverse=True)
    return PoolGaps(
        window=window,
        pools=tuple((pool, series[pool]) for pool in ranked[:POOLS_MAX]),
        total=total_steps(series),
        left_out=max(len(ranked) - POOLS_MAX, 0),
        phases=phases(evidence, window),
    )


def phases(evidence: Evidence, window: Span) -> tuple[Span, ...]:
    """The phases that take time within a window, cut to it."""
    spans = (
        Span(
            phase["phase"],
            max(phase["start_us"], window.start_us),
            min(phase["end_us"], window.end_us),
        )
        for phase in evidence.run["phases"]
    )
    return tuple(span for span in spans if span.start_us < span.end_us)


def timeline_chart(timeline: Timeline, size: Size) -> Chart:
    """One pool: its gap, what is available, who holds the rest, and the fault marks."""
    available = _panel("available, tokens (dashed: total)", (AVAILABLE,), timeline, size)
    panels = [_panel("gap, tokens", (GAP,), timeline, size), available]
    if timeline.holders:
        panels.append(_panel("held, tokens", timeline.holders, timeline, size))
    window = timeline.window
    across = time_axis(window.start_us, window.end_us, size)
    return Chart(across, tuple(panels), timeline.phases, names_phases=True, marks=timeline.marks)


def _panel(title: str, series: tuple[Series, ...], timeline: Timeline, size: Size) -> Panel:
    """Some series on one scale; beside what is available, the total is drawn dashed."""
    total = timeline.total_tokens if series == (AVAILABLE,) else None
    steps = [timeline.steps[each.column] for each in series]
    ends = [end for each in steps for end in each.extremes()]
    ends.append(0 if total is None else total)
    return Panel(
        title,
        tuple(line(each, one, size) for each, one in zip(series, steps, strict=True)),
        value_axis(min(ends), max(ends), size.panel),
        size.panel,
        has_legend=series == timeline.holders,
        limit=total,
    )


def line(series: Series, steps: Steps, size: Size) -> Line:
    """A series reduced to what a drawing of this size can show."""
    reduced = steps.reduce(size.columns)
    is_gap = series == GAP
    return Line(
        reduced.time_us, reduced.value, series.colour, series.title, series.dash, is_filled=is_gap
    )


def gap_panel(title: str, steps: Steps, ends: tuple[int, int], size: Size, height: int) -> Panel:
    """A gap on a scale between two values that also has zero."""
    axis = value_axis(min(*ends, 0), max(*ends, 0), height)
    return Panel(title, (line(GAP, steps, size),), axis, height)


def pool_gaps_chart(gaps: PoolGaps, size: Size) -> Chart:
    """The gap of each pool on one scale, and their sum on another."""
    every = [end for _, steps in gaps.pools for end in steps.extremes()]
    ends = min(every), max(every)
    together = gap_panel("all pools together", gaps.total, gaps.total.extremes(), size, SMALL)
    panels = (gap_panel(pool, steps, ends, size, SMALL) for pool, steps in gaps.pools)
    across = time_axis(gaps.window.start_us, gaps.window.end_us, size)
    return Chart(across, (together, *panels), gaps.phases)
