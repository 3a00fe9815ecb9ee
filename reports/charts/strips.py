"""What every chart shares: colours, sizes, the time axis, the shaded phases and the fault marks.

A fault strip has one row for each fault, so that no fault is told from another by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reports.charts.marks import NEVER, Marks
from reports.charts.timeline import Span, Timeline

#: What is drawn in which colour on a light page; who holds pages as in report.css.
PALETTE = {
    "ink": "#1b2430",
    "soft": "#566173",
    "grid": "#e1e5ea",
    "gap": "#b3261e",
    "available": "#566173",
    "running": "#1f5fa8",
    "transfer": "#1b7f79",
    "cached": "#6f8fae",
    "protected": "#45617f",
    "other": "#8a93a0",
    "inject": "#fbeee6",
    "heal": "#e6f4ea",
    "repeat": "#e8eef8",
}

#: Names of phases up to this one are drawn in their own tint, all repeats in one.
TINTS = {"inject": "inject", "heal": "heal"}


@dataclass(frozen=True, slots=True)
class Size:
    """How a chart is laid out: plot and axis widths, panel height and font size, in pixels."""

    plot: int
    axis: int
    panel: int
    font: int
    #: Stretches of time of which each series shows its extremes.
    columns: int

    @property
    def ticks(self) -> int:
        """Time ticks that fit side by side."""
        return max(self.plot // 90, 3)


WIDE = Size(plot=960, axis=84, panel=130, font=12, columns=375)
NARROW = Size(plot=232, axis=68, panel=96, font=11, columns=232)


def time_axis(window: Span, size: Size, *, shown: bool = True) -> Any:
    """Virtual time in seconds over exactly the window; not shown, it only lines panels up."""
    import altair as alt

    domain = [window.start_us / 1e6, window.end_us / 1e6]
    axis = alt.Axis(
        title=None,
        tickCount=size.ticks,
        format=_time_format(window, size),
        labelExpr="datum.label + ' s'",
        grid=True,
    )
    return alt.X(
        "time:Q",
        title=None,
        scale=alt.Scale(domain=domain, nice=False),
        axis=axis if shown else None,
    )


def _time_format(window: Span, size: Size) -> str:
    """As many decimals as neighbouring ticks need to differ."""
    step = (window.end_us - window.start_us) / 1e6 / size.ticks
    for decimals in range(4):
        if step >= 10.0**-decimals:
            return f",.{decimals}f"
    return ",.6~f"


def shades(phases: Iterable[Span], window: Span, size: Size) -> Any:
    """The phases as tinted bands behind a panel."""
    import altair as alt

    return (
        alt.Chart(alt.InlineData(values=_phase_rows(phases)))
        .mark_rect()
        .encode(
            x=time_axis(window, size),
            x2="end:Q",
            color=alt.Color("colour:N", scale=None),
        )
    )


def _phase_rows(phases: Iterable[Span]) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase.name,
            "time": phase.start_us / 1e6,
            "end": phase.end_us / 1e6,
            "middle": (phase.start_us + phase.end_us) / 2e6,
            "colour": PALETTE[TINTS.get(phase.name, "repeat")],
        }
        for phase in phases
    ]


def phase_strip(phases: tuple[Span, ...], window: Span, size: Size) -> Any:
    """The names of the phases above the panels, where there is room for them."""
    import altair as alt

    length = window.end_us - window.start_us
    roomy = [
        phase
        for phase in phases
        if (phase.end_us - phase.start_us) / length * size.plot > 0.7 * size.font * len(phase.name)
    ]
    bands = alt.Chart(alt.InlineData(values=_phase_rows(phases))).mark_rect()
    names = alt.Chart(alt.InlineData(values=_phase_rows(roomy))).mark_text(
        color=PALETTE["ink"], fontSize=size.font
    )
    return alt.layer(
        bands.encode(
            x=time_axis(window, size, shown=False),
            x2="end:Q",
            color=alt.Color("colour:N", scale=None, legend=None),
        ),
        names.encode(x=alt.X("middle:Q"), text="phase:N"),
    ).properties(width=size.plot, height=18)


def fault_strip(timeline: Timeline, size: Size) -> Any:
    """One row for each fault: a cross where an event was lost, a bar from due to delivered."""
    import altair as alt

    rows = _mark_rows(timeline.marks, timeline.window, size.plot)
    kinds = sorted({row["fault"] for row in rows})
    y = alt.Y(
        "fault:N",
        title=None,
        scale=alt.Scale(domain=kinds),
        axis=alt.Axis(minExtent=size.axis, maxExtent=size.axis, labelLimit=size.axis, grid=True),
    )
    colour = alt.Color("colour:N", scale=None, legend=None)
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=time_axis(timeline.window, size), y=y)
    bars = base.mark_rule(strokeWidth=2, opacity=0.5, clip=True).encode(x2="end:Q", color=colour)
    marks = base.mark_point(strokeWidth=1.5, filled=False, clip=False).encode(
        shape=alt.Shape("shape:N", scale=None, legend=None),
        size=alt.Size("size:Q", scale=None, legend=None),
        color=colour,
    )
    return alt.layer(bars, marks).properties(
        width=size.plot, height=20 * len(kinds), title=alt.Title("faults by the time of sending")
    )


#: A cross, as long and as wide as its mark.
CROSS = "M-.7,-.7L.7,.7M-.7,.7L.7,-.7"


def _mark_rows(marks: Marks, window: Span, columns: int) -> list[dict[str, Any]]:
    """At most one mark for each fault, pixel column and side; this pool's are drawn last."""
    kept = marks.reduce(window.start_us, window.end_us, columns)
    rows = []
    for fault, sent_us, delivered_us, here in zip(
        kept.fault.tolist(),
        kept.sent_us.tolist(),
        kept.delivered_us.tolist(),
        kept.here.tolist(),
        strict=True,
    ):
        start_us = min(max(sent_us, window.start_us), window.end_us)
        lost = delivered_us == NEVER
        rows.append(
            {
                "fault": kept.names[fault],
                "time": start_us / 1e6,
                "end": (start_us if lost else min(delivered_us, window.end_us)) / 1e6,
                "shape": CROSS if lost else "circle",
                "size": 70 if here else 24,
                "colour": PALETTE["gap" if here else "other"],
            }
        )
    return sorted(rows, key=lambda row: (row["size"], row["time"]))
