"""The timeline: drawings with a caption, words for those who cannot see them, the numbers behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from reports.drawings.step_chart import NARROW, WIDE, Size, svg_of
from reports.drawings.steps import Integers
from reports.drawings.timeline import (
    PoolGaps,
    Timeline,
    make_story,
    pool_gaps_chart,
    timeline_chart,
)
from reports.evidence import Evidence
from reports.parts.base import Check, Part, equal
from reports.parts.timeline.live import Live, make_live
from reports.tables import ROWS_MAX, Table, make_table
from reports.words import counted, number, plain_seconds, seconds

#: A phase of the whole window, last in each table.
_ALL = "all"
#: Recordings on a page of which each is drawn as finely as a screen shows; more share as much.
_FINE_RECORDINGS = 6
_COLUMNS_MIN = 60


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart in two sizes, what it shows in words, and the numbers behind it."""

    title: str
    caption: str
    label: str
    wide: Markup
    narrow: Markup
    tables: tuple[Table, ...]
    #: Whether the live charts show it too, so that it is needed only on paper and without scripts.
    is_closer: bool = False


@dataclass(frozen=True, slots=True)
class Charts:
    """The drawings of a recording, and the data with which the page redraws them at any zoom."""

    figures: tuple[Figure, ...]
    live: Live
    #: How finely the live charts are drawn, in words.
    detail: str


def make_charts(evidence: Evidence, recordings: int = 1) -> Charts | None:
    """Draw a recording that shares its page with others; None where it has no audits.

    Args:
        evidence: the recording.
        recordings: how many recordings the page shows; many are drawn less finely.
    """
    story = make_story(evidence)
    if story is None:
        return None
    part = max(recordings / _FINE_RECORDINGS, 1)
    wide, narrow = (
        replace(size, columns=max(int(size.columns / part), _COLUMNS_MIN))
        for size in (WIDE, NARROW)
    )
    figures = [_timeline_figure(evidence, story.whole, wide, narrow)]
    if story.closer is not None:
        closer = _timeline_figure(evidence, story.closer, wide, narrow)
        figures.append(replace(closer, is_closer=True))
    if story.gaps is not None:
        figures.append(_gaps_figure(story.gaps, wide, narrow))
    live = make_live(evidence, story, recordings)
    return Charts(tuple(figures), live, _detail(live))


def _timeline_figure(evidence: Evidence, timeline: Timeline, wide: Size, narrow: Size) -> Figure:
    start, end = seconds(timeline.window.start_us), seconds(timeline.window.end_us)
    ranges = []
    for series in timeline.series:
        low, high = timeline.steps[series.column].extremes()
        ranges.append(f"{series.title} between {number(low)} and {number(high)}")
    final = int(timeline.steps["gap"].value[-1])
    label = (
        f"Tokens of {timeline.pool} from {start} to {end} of virtual time: {', '.join(ranges)}, "
        f"out of {number(timeline.total_tokens)}; the final gap is {number(final)}."
    )
    return Figure(
        f"{timeline.pool} over virtual time{timeline.window.name and ', '}{timeline.window.name}",
        _caption(timeline),
        label,
        svg_of(timeline_chart(timeline, wide), wide),
        svg_of(timeline_chart(timeline, narrow), narrow),
        tables=(series_table(timeline), phases_table(evidence, timeline)),
    )


def _caption(timeline: Timeline) -> str:
    caption = "Shaded areas are the phases."
    if timeline.never:
        names = " and ".join(series.title for series in timeline.never)
        caption += f" Not drawn because it is zero in every audit of this pool: {names}."
    if len(timeline.marks):
        caption += (
            " Below the curves, a cross marks an event that never arrived; a circle marks when an "
            "event was sent, and its bar extends to the delivery. Large red marks are for this "
            "pool, small grey ones for other pools."
        )
    return caption


def _gaps_figure(gaps: PoolGaps, wide: Size, narrow: Size) -> Figure:
    widest = "; ".join(
        f"{pool} {number(low)} to {number(high)}"
        for pool, (low, high) in ((pool, steps.extremes()) for pool, steps in gaps.pools)
    )
    caption = "Gap in tokens. The pools share one scale; their sum has its own."
    if gaps.left_out:
        of = len(gaps.pools) + gaps.left_out
        caption += (
            f" Showing {number(len(gaps.pools))} of {number(of)} pools with a gap, widest first;"
            f" {counted(gaps.left_out, 'more pool')} with a narrower gap not drawn."
        )
    return Figure(
        "Gap of every pool over virtual time",
        caption,
        f"Gap in tokens by pool, lowest to highest: {widest}.",
        svg_of(pool_gaps_chart(gaps, wide), wide),
        svg_of(pool_gaps_chart(gaps, narrow), narrow),
        tables=(gaps_table(gaps),),
    )


def _detail(live: Live) -> str:
    """How finely the live charts are drawn, and where."""
    if live.columns is None:
        text = "Every audit is drawn."
    else:
        detail = live.detail
        text = (
            f"Full resolution (every change in every audit) around {number(detail.around)} of "
            f"{counted(detail.episodes, 'episode')}, worst first"
        )
        if detail.throughout < detail.around:
            text += (
                f": {number(detail.throughout)} of them from end to end, the others around their "
                "opening, widest audit and close"
            )
        text += (
            f". Elsewhere, the lowest and highest value of every "
            f"{seconds(live.end_us // live.columns, 4)}. "
            "The line below a panel is thick where the panel has full resolution."
        )
    if len(live.marks) < live.marks_of:
        text += f" Showing {number(len(live.marks))} of {counted(live.marks_of, 'fault mark')}."
    return text


def series_table(timeline: Timeline) -> Table:
    """The lowest, highest and last value of each series in each phase."""
    rows = []
    spans = [(phase.name, phase.start_us, phase.end_us) for phase in timeline.phases]
    spans.append((_ALL, timeline.window.start_us, timeline.window.end_us))
    for name, start_us, end_us in spans:
        for series in timeline.series:
            steps = timeline.steps[series.column].window(start_us, end_us)
            if len(steps):
                low, high = steps.extremes()
                last = int(steps.value[-1])
                rows.append((name, series.title, number(low), number(high), number(last)))
    caption = f"{timeline.pool} by phase, in tokens; total: {number(timeline.total_tokens)}"
    titles = "phase|series|#lowest|#highest|#at its end"
    return make_table(caption, titles, rows[:ROWS_MAX], len(rows))


def phases_table(evidence: Evidence, timeline: Timeline) -> Table:
    """How long each phase lasted, and how many audits and faulted events it had."""
    mine = evidence.rows("audits", "pool", timeline.pool)
    times, names = mine["time_us"].to_numpy(), mine["phase"]
    window, marks = timeline.window, timeline.marks
    spans = [(phase.name, phase.start_us, phase.end_us) for phase in timeline.phases]
    spans.append((_ALL, window.start_us, window.end_us))
    rows = []
    for name, start_us, end_us in spans:
        # Phases meet at one moment, at which both have audits: their names tell them apart.
        of_phase = name == _ALL or pc.equal(names, pa.scalar(name)).to_numpy()
        seen = np.count_nonzero((times >= start_us) & (times <= end_us) & of_phase)
        last = end_us == window.end_us
        sent = (marks.sent_us >= start_us) & (
            (marks.sent_us <= end_us) if last else (marks.sent_us < end_us)
        )
        rows.append(
            (
                name,
                plain_seconds(start_us),
                plain_seconds(end_us),
                number(int(seen)),
                number(int(np.count_nonzero(sent & marks.here))),
                number(int(np.count_nonzero(sent & ~marks.here))),
            )
        )
    caption = f"Phases, with audits of {timeline.pool} and faulted events by send time"
    titles = "phase|#from, s|#to, s|#audits|#faulted events, this pool|#other pools"
    return make_table(caption, titles, rows[:ROWS_MAX], len(rows))


def gaps_table(gaps: PoolGaps) -> Table:
    """The lowest, highest and last gap of every pool that is drawn, and of all together."""
    drawn = [("all pools together", gaps.total), *gaps.pools]
    rows = [
        (pool, *map(number, steps.extremes()), number(int(steps.value[-1])))
        for pool, steps in drawn
    ]
    more = f"; {counted(gaps.left_out, 'more pool')} not drawn" if gaps.left_out else ""
    titles = "pool|#lowest|#highest|#at the end"
    return make_table(f"Gap by pool, in tokens{more}", titles, rows, len(rows) + gaps.left_out)


def check_charts(evidence: Evidence, charts: Charts) -> tuple[Check, ...]:
    """What the live charts draw against the tables of the recording."""
    live = charts.live
    return (_series_agree(evidence, live), _windows_agree(evidence, live), _marks(evidence, live))


def _series_agree(evidence: Evidence, live: Live) -> Check:
    """The data goes the way of the page: decoded from the differences, not from what made them."""
    agree = of = 0
    for pool in live.document["pools"]:
        rows = evidence.rows("audits", "pool", pool["name"])
        for column, (_, differences) in pool["series"].items():
            values = np.cumsum(np.array(differences, np.int64))
            truth = pc.min_max(rows[column]).as_py()
            expected = (truth["min"], truth["max"], rows[column][-1].as_py())
            agree += (int(values.min()), int(values.max()), int(values[-1])) == expected
            of += 1
    return Check(
        "lowest, highest and last value of each series in the timeline = those in the audits",
        f"{number(agree)} agree",
        f"{number(of)} in all",
        agree == of,
    )


def _windows_agree(evidence: Evidence, live: Live) -> Check:
    """Every change that audits saw at full resolution is a point of the chart, and nothing else."""
    drawn = seen = 0
    for pool in live.document["pools"]:
        rows = evidence.rows("audits", "pool", pool["name"])
        time_us = rows["time_us"].to_numpy()
        for column, (differences, _) in pool["series"].items():
            times = np.cumsum(np.array(differences, np.int64))[:-1]
            values = rows[column].to_numpy()
            changed = time_us[np.diff(values, prepend=values[:1] - 1) != 0]
            for start_us, end_us in list(pairwise(pool["full"]))[::2]:
                drawn += _between(times, start_us, end_us)
                seen += _between(changed, start_us, end_us)
    return equal(
        "points of the timeline at full resolution = changes between audits",
        drawn,
        seen,
    )


def _between(times: Integers, start_us: int, end_us: int) -> int:
    first = np.searchsorted(times, start_us, side="left")
    return int(np.searchsorted(times, end_us, side="right") - first)


def _marks(evidence: Evidence, live: Live) -> Check:
    touched = pc.sum(evidence.tables["events"]["rule"].is_valid()).as_py() or 0
    drawn = len(live.document["faults"]["fault"])
    left_out = live.marks_of - drawn
    return Check(
        "fault marks drawn + left out for lack of room = events that a rule touched",
        f"{number(drawn)} + {number(left_out)} = {counted(drawn + left_out, 'mark')}",
        number(touched),
        drawn + left_out == touched,
    )


TIMELINE = Part(
    "timeline",
    lambda context: (
        make_charts(context.evidence, context.recordings) if context.has_charts else None
    ),
    check_charts,
    link="Timeline",
)
