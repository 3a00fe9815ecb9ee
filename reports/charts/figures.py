"""The charts of one recording with what stands beside them: a caption, words for those who cannot see
the drawing, and the numbers behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from reports.charts import drawing
from reports.charts.strips import NARROW, WIDE
from reports.charts.timeline import (
    PoolGaps,
    Span,
    Timeline,
    closer,
    pool_gaps,
    pool_timeline,
    whole,
)
from reports.evidence import Evidence
from reports.words import counted, number, seconds


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart in two sizes, what it shows in words, and the numbers behind it."""

    title: str
    caption: str
    label: str
    wide: Markup
    narrow: Markup
    numbers: tuple[tuple[str, str], ...]


def make_figures(evidence: Evidence, anchor: str) -> tuple[Figure, ...]:
    """The charts of a recording with a mismatch, none without; ids start with `anchor`."""
    mismatch = evidence.summary["mismatch"]
    if mismatch is None:
        return ()
    windows: list[Span] = [whole(evidence)]
    if (window := closer(evidence)) is not None:
        windows.append(window)
    figures = []
    for at, window in enumerate(windows):
        timeline = pool_timeline(evidence, mismatch["pool"], window)
        figures.append(_timeline_figure(timeline, f"{anchor}-t{at}-"))
    gaps = pool_gaps(evidence)
    if len(gaps.pools) > 1:
        figures.append(_gaps_figure(gaps, f"{anchor}-g-"))
    return tuple(figures)


def _timeline_figure(timeline: Timeline, prefix: str) -> Figure:
    low, high = timeline.gap.extremes()
    least, most = timeline.available.extremes()
    start, end = seconds(timeline.window.start_us), seconds(timeline.window.end_us)
    final = int(timeline.gap.value[-1])
    here = sum(mark.here for mark in timeline.marks)
    label = (
        f"Gap and available tokens of {timeline.pool} from {start} to {end} of virtual time: the "
        f"gap lies between {number(low)} and {number(high)} tokens and is {number(final)} at the "
        f"end; available lies between {number(least)} and {number(most)} of "
        f"{number(timeline.total_tokens)}."
    )
    caption = (
        f"{timeline.pool}, {timeline.window.name}. Shaded: the phases. "
        "Under the curves: a cross is an event that never arrived; a circle is one that was sent "
        "there, and its bar reaches to the delivery. Large and red: for this pool; small and grey: for another."
    )
    numbers = (
        ("gap, lowest and highest", f"{number(low)} to {number(high)} tokens"),
        ("gap at the end of the chart", f"{number(final)} tokens"),
        ("available, lowest and highest", f"{number(least)} to {number(most)} tokens"),
        ("total", f"{number(timeline.total_tokens)} tokens"),
        ("faulted events, this pool", number(here)),
        ("faulted events, other pools", number(len(timeline.marks) - here)),
        *(
            (f"phase {phase.name}", f"{seconds(phase.start_us)} to {seconds(phase.end_us)}")
            for phase in timeline.phases
        ),
    )
    return Figure(
        f"{timeline.pool} over virtual time, {timeline.window.name}",
        caption,
        label,
        _trusted(drawing.timeline_svg(timeline, WIDE), prefix + "w"),
        _trusted(drawing.timeline_svg(timeline, NARROW), prefix + "n"),
        numbers,
    )


def _gaps_figure(gaps: PoolGaps, prefix: str) -> Figure:
    widest = "; ".join(
        f"{pool} {number(low)} to {number(high)}"
        for pool, (low, high) in ((pool, steps.extremes()) for pool, steps in gaps.pools)
    )
    more = f" {counted(gaps.left_out, 'more pool')} with a narrower gap not drawn." * bool(
        gaps.left_out
    )
    ends = [(pool, int(steps.value[-1])) for pool, steps in gaps.pools]
    return Figure(
        "Gap of every pool over virtual time",
        f"Gap in tokens; the pools share one scale, their sum has its own.{more}",
        f"Gap in tokens by pool, lowest to highest: {widest}.",
        _trusted(drawing.pool_gaps_svg(gaps, WIDE), prefix + "w"),
        _trusted(drawing.pool_gaps_svg(gaps, NARROW), prefix + "n"),
        (
            ("all pools, at the end", f"{number(int(gaps.total.value[-1]))} tokens"),
            *((f"{pool}, at the end", f"{number(gap)} tokens") for pool, gap in ends),
        ),
    )


def _trusted(svg: str, prefix: str) -> Markup:
    """The drawing as it stands: vl-convert has escaped every text in it."""
    return Markup(drawing.with_own_ids(svg, prefix))
