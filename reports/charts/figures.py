"""The charts of one recording with what stands beside them: a caption, words for those who cannot see
the drawing, and the numbers behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from reports.charts import drawing
from reports.charts.live import Live, make_live
from reports.charts.numbers import gaps_table, phases_table, series_table
from reports.charts.strips import NARROW, WIDE, Size
from reports.charts.timeline import PoolGaps, Timeline, make_story
from reports.evidence import Evidence
from reports.words import counted, number, seconds

if TYPE_CHECKING:
    from reports.parts.tables import Table

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


def make_charts(evidence: Evidence, anchor: str, recordings: int = 1) -> Charts | None:
    """Draw a recording that shares its page with others; None where it has no audits.

    Args:
        evidence: the recording.
        anchor: what ids in the drawings start with.
        recordings: how many recordings the page shows; many are drawn less finely.
    """
    story = make_story(evidence)
    if story is None:
        return None
    part = max(recordings / _FINE_RECORDINGS, 1)
    sizes = tuple(
        replace(size, columns=max(int(size.columns / part), _COLUMNS_MIN))
        for size in (WIDE, NARROW)
    )
    figures = [_timeline_figure(evidence, story.whole, f"{anchor}-t0-", sizes)]
    if story.closer is not None:
        closer = _timeline_figure(evidence, story.closer, f"{anchor}-t1-", sizes)
        figures.append(replace(closer, is_closer=True))
    if story.gaps is not None:
        figures.append(_gaps_figure(story.gaps, f"{anchor}-g-", sizes))
    live = make_live(evidence, story, recordings)
    return Charts(tuple(figures), live, _detail(live))


def _timeline_figure(
    evidence: Evidence, timeline: Timeline, prefix: str, sizes: tuple[Size, ...]
) -> Figure:
    start, end = seconds(timeline.window.start_us), seconds(timeline.window.end_us)
    ranges = []
    for series in timeline.series:
        low, high = timeline.steps[series.column].extremes()
        ranges.append(f"{series.title} between {number(low)} and {number(high)}")
    final = int(timeline.steps["gap"].value[-1])
    label = (
        f"Tokens of {timeline.pool} from {start} to {end} of virtual time: {', '.join(ranges)}, "
        f"of {number(timeline.total_tokens)} in all; the gap at the end is {number(final)}."
    )
    wide, narrow = _drawn(drawing.timeline_svg, timeline, prefix, sizes)
    return Figure(
        f"{timeline.pool} over virtual time{timeline.window.name and ', '}{timeline.window.name}",
        _caption(timeline),
        label,
        wide,
        narrow,
        tables=(series_table(timeline), phases_table(evidence, timeline)),
    )


def _caption(timeline: Timeline) -> str:
    caption = "Shaded: the phases."
    if timeline.never:
        names = " and ".join(series.title for series in timeline.never)
        caption += f" Not drawn, for it is zero in every audit of this pool: {names}."
    if len(timeline.marks):
        caption += (
            " Under the curves: a cross is an event that never arrived; a circle is one that was "
            "sent there, and its bar reaches to the delivery. Large and red: for this pool; small "
            "and grey: for another."
        )
    return caption


def _gaps_figure(gaps: PoolGaps, prefix: str, sizes: tuple[Size, ...]) -> Figure:
    widest = "; ".join(
        f"{pool} {number(low)} to {number(high)}"
        for pool, (low, high) in ((pool, steps.extremes()) for pool, steps in gaps.pools)
    )
    caption = "Gap in tokens; the pools share one scale, their sum has its own."
    if gaps.left_out:
        of = len(gaps.pools) + gaps.left_out
        caption += (
            f" Showing {number(len(gaps.pools))} of {number(of)} pools with a gap, the widest first;"
            f" {counted(gaps.left_out, 'more pool')} with a narrower gap not drawn."
        )
    wide, narrow = _drawn(drawing.pool_gaps_svg, gaps, prefix, sizes)
    return Figure(
        "Gap of every pool over virtual time",
        caption,
        f"Gap in tokens by pool, lowest to highest: {widest}.",
        wide,
        narrow,
        tables=(gaps_table(gaps),),
    )


def _drawn(draw: Any, what: Any, prefix: str, sizes: tuple[Size, ...]) -> tuple[Markup, ...]:
    """The drawing in each size as it stands: vl-convert has escaped every text in it."""
    return tuple(
        Markup(drawing.with_own_ids(draw(what, size), f"{prefix}{letter}"))
        for size, letter in zip(sizes, "wn", strict=True)
    )


def _detail(live: Live) -> str:
    """How finely the live charts are drawn, and where."""
    if live.columns is None:
        text = "Every audit is drawn."
    else:
        detail = live.detail
        text = (
            f"Full resolution, every change of every audit, around {number(detail.around)} of "
            f"{counted(detail.episodes, 'episode')}, the worst first"
        )
        if detail.throughout < detail.around:
            text += (
                f": {number(detail.throughout)} of them from end to end, the others around their "
                "opening, widest audit and close"
            )
        text += (
            f". Elsewhere, the lowest and the highest value of each "
            f"{seconds(live.end_us // live.columns, 4)}. "
            "The line below each panel is thick where it is at full resolution."
        )
    if len(live.marks) < live.marks_of:
        text += f" Showing {number(len(live.marks))} of {counted(live.marks_of, 'fault mark')}."
    return text
