"""Charts as inline SVG: Altair builds the specification, vl-convert draws it when the page is made.

The drawing holds no script and loads nothing. Its colours are those of `PALETTE`; the page's style
sheet finds them by value and swaps them for a dark screen, so both must name the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reports.steps import Steps
from reports.timeline import FaultMark, PoolGaps, Span, Timeline

#: What is drawn in which colour on a light page.
PALETTE = {
    "ink": "#1b2430",
    "soft": "#566173",
    "grid": "#e1e5ea",
    "gap": "#b3261e",
    "available": "#1f5fa8",
    "other": "#8a93a0",
    "inject": "#fbeee6",
    "heal": "#e6f4ea",
    "repeat": "#e8eef8",
}

#: Names of phases up to this one are drawn in their own tint, all repeats in one.
_TINTS = {"inject": "inject", "heal": "heal"}


@dataclass(frozen=True, slots=True)
class Size:
    """How a chart is laid out: plot and axis widths, panel height and font size, in pixels."""

    plot: int
    axis: int
    panel: int
    font: int

    @property
    def ticks(self) -> int:
        """Time ticks that fit side by side."""
        return max(self.plot // 90, 3)


WIDE = Size(plot=960, axis=84, panel=150, font=12)
NARROW = Size(plot=232, axis=68, panel=110, font=11)

#: Points that one series may have, whatever the size.
COLUMNS_MAX = 375


def timeline_svg(timeline: Timeline, size: Size) -> str:
    """Gap and available of one pool, one above the other, over the fault marks."""
    import altair as alt

    panels = [_phase_strip(timeline.phases, timeline.window, size)]
    panels.append(_panel("gap, tokens", timeline.gap, "gap", timeline, size, rule=None))
    panels.append(
        _panel(
            "available, tokens (dashed: total)",
            timeline.available,
            "available",
            timeline,
            size,
            rule=timeline.total_tokens,
        )
    )
    if timeline.marks:
        panels.append(_fault_strip(timeline, size))
    return _render(alt.vconcat(*panels, spacing=10), size)


def pool_gaps_svg(gaps: PoolGaps, size: Size) -> str:
    """The gap of each pool on one scale, and their sum on another."""
    import altair as alt

    lows_highs = [steps.extremes() for _, steps in gaps.pools]
    domain = [min(low for low, _ in lows_highs), max(high for _, high in lows_highs)]
    panels = []
    if len(gaps.pools) > 1:
        steps = gaps.total
        panels.append(_small("all pools together", steps, None, gaps, size))
    panels += [_small(pool, steps, domain, gaps, size) for pool, steps in gaps.pools]
    return _render(alt.vconcat(*panels, spacing=8), size)


def _panel(
    title: str, steps: Steps, colour: str, timeline: Timeline, size: Size, rule: int | None
) -> Any:
    """One series with shaded phases; `rule` is drawn dashed across it."""
    import altair as alt

    layers = [
        _shades(timeline.phases, timeline.window, size),
        _line(steps, colour, size, timeline.window, fill=rule is None),
    ]
    if rule is not None:
        data = alt.Data(values=[{"value": rule}])
        dashed = alt.Chart(data).mark_rule(color=PALETTE["soft"], strokeDash=[4, 3], strokeWidth=1)
        layers.append(dashed.encode(y=alt.Y("value:Q", title=None)))
    return alt.layer(*layers).properties(width=size.plot, height=size.panel, title=alt.Title(title))


def _small(title: str, steps: Steps, domain: list[int] | None, gaps: PoolGaps, size: Size) -> Any:
    import altair as alt

    line = _line(steps, "gap", size, gaps.window, fill=True, ticks=2, domain=domain)
    layers = alt.layer(_shades(gaps.phases, gaps.window, size), line)
    return layers.properties(width=size.plot, height=44, title=alt.Title(title))


def _line(
    steps: Steps,
    colour: str,
    size: Size,
    window: Span,
    *,
    fill: bool,
    ticks: int = 4,
    domain: list[int] | None = None,
) -> Any:
    """A step line, filled down to zero or on a scale of its own."""
    import altair as alt

    reduced = steps.reduce(min(size.plot, COLUMNS_MAX))
    times = (reduced.time_us / 1e6).tolist()
    values = [
        {"time": time, "value": value}
        for time, value in zip(times, reduced.value.tolist(), strict=True)
    ]
    chart = alt.Chart(alt.Data(values=values))
    options: dict[str, Any] = {"interpolate": "step-after", "clip": False}
    if fill:
        marked = chart.mark_area(
            color=PALETTE[colour],
            fillOpacity=0.22,
            line={"color": PALETTE[colour], "strokeWidth": 1.5},
            **options,
        )
    else:
        marked = chart.mark_line(color=PALETTE[colour], strokeWidth=1.5, **options)
    scale = alt.Scale(zero=fill, nice=True)
    if domain is not None:
        scale = alt.Scale(domain=[min(domain[0], 0), max(domain[1], 0)], nice=True)
    axis = alt.Axis(format=",d", tickCount=ticks, minExtent=size.axis, maxExtent=size.axis)
    return marked.encode(x=_time_axis(window, size), y=alt.Y("value:Q", title=None, scale=scale, axis=axis))


def _time_axis(window: Span, size: Size, *, shown: bool = True) -> Any:
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


def _shades(phases: Iterable[Span], window: Span, size: Size) -> Any:
    import altair as alt

    return (
        alt.Chart(alt.Data(values=_phase_rows(phases)))
        .mark_rect()
        .encode(
            x=_time_axis(window, size),
            x2="end:Q",
            color=alt.Color("colour:N", scale=None, legend=None),
        )
    )


def _phase_rows(phases: Iterable[Span]) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase.name,
            "time": phase.start_us / 1e6,
            "end": phase.end_us / 1e6,
            "middle": (phase.start_us + phase.end_us) / 2e6,
            "colour": PALETTE[_TINTS.get(phase.name, "repeat")],
        }
        for phase in phases
    ]


def _phase_strip(phases: tuple[Span, ...], window: Span, size: Size) -> Any:
    """The names of the phases above the panels, where there is room for them."""
    import altair as alt

    length = window.end_us - window.start_us
    roomy = [
        phase
        for phase in phases
        if (phase.end_us - phase.start_us) / length * size.plot > 0.7 * size.font * len(phase.name)
    ]
    bands = alt.Chart(alt.Data(values=_phase_rows(phases))).mark_rect()
    names = alt.Chart(alt.Data(values=_phase_rows(roomy))).mark_text(
        color=PALETTE["ink"], fontSize=size.font
    )
    return alt.layer(
        bands.encode(
            x=_time_axis(window, size, shown=False),
            x2="end:Q",
            color=alt.Color("colour:N", scale=None, legend=None),
        ),
        names.encode(x=alt.X("middle:Q"), text="phase:N"),
    ).properties(width=size.plot, height=18)


def _fault_strip(timeline: Timeline, size: Size) -> Any:
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
    base = alt.Chart(alt.Data(values=rows)).encode(x=_time_axis(timeline.window, size), y=y)
    bars = base.mark_rule(strokeWidth=2, opacity=0.5, clip=True).encode(x2="end:Q", color=colour)
    marks = base.mark_point(size=34, strokeWidth=1.5, filled=False, clip=False).encode(
        shape=alt.Shape("shape:N", scale=None, legend=None), color=colour
    )
    return alt.layer(bars, marks).properties(
        width=size.plot, height=20 * len(kinds), title=alt.Title("faults by the time of sending")
    )


_CROSS = "M-.7,-.7L.7,.7M-.7,.7L.7,-.7"


def _mark_rows(marks: tuple[FaultMark, ...], window: Span, columns: int) -> list[dict[str, Any]]:
    """At most one mark for each fault, pixel column and side; this pool's are drawn last."""
    kept: dict[tuple[str, bool, int], FaultMark] = {}
    span = max(window.end_us - window.start_us, 1)
    for mark in sorted(marks, key=lambda each: (each.here, each.sent_us)):
        column = (mark.sent_us - window.start_us) * columns // span
        kept.setdefault((mark.fault, mark.here, column), mark)
    rows = []
    for mark in kept.values():
        start_us = min(max(mark.sent_us, window.start_us), window.end_us)
        end_us = start_us if mark.delivered_us is None else min(mark.delivered_us, window.end_us)
        rows.append(
            {
                "fault": mark.fault,
                "time": start_us / 1e6,
                "end": end_us / 1e6,
                "shape": _CROSS if mark.delivered_us is None else "circle",
                "colour": PALETTE["gap" if mark.here else "other"],
            }
        )
    return rows


def with_own_ids(svg: str, prefix: str) -> str:
    """The drawing with ids that no other drawing on the page has."""
    svg = re.sub(r'\bid="([\w-]+)"', rf'id="{prefix}\1"', svg)
    return re.sub(r"url\(#([\w-]+)\)", rf"url(#{prefix}\1)", svg)


def _render(chart: Any, size: Size) -> str:
    """Draw a chart; the SVG scales with its container and loads nothing."""
    import altair as alt
    import vl_convert

    configured = chart.configure(
        aria=False,
        background="transparent",
        font="sans-serif",
        padding=2,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=PALETTE["soft"],
            labelFontSize=size.font,
            gridColor=PALETTE["grid"],
            domainColor=PALETTE["other"],
            tickColor=PALETTE["other"],
            labelOverlap=True,
            labelLimit=size.axis,
            titleColor=PALETTE["soft"],
        ),
        title=alt.TitleConfig(
            color=PALETTE["ink"], fontSize=size.font, fontWeight=600, anchor="start", offset=6
        ),
    )
    svg: str = vl_convert.vegalite_to_svg(
        configured.to_dict(), vl_version=_version(), allowed_base_urls=[]
    )
    svg = re.sub(r' (?:d|transform)="[^"]*"', _round, svg)
    return re.sub(r'^<svg [^>]*?width="(\d+)" height="(\d+)"[^>]*>', _opening, svg, count=1)


def _round(attribute: re.Match[str]) -> str:
    """A hundredth of a pixel is enough, and half the size."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute.group())


def _opening(found: re.Match[str]) -> str:
    width, height = found.groups()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" aria-hidden="true" focusable="false">'
    )


def _version() -> str:
    """The Vega-Lite that Altair wrote for, as vl-convert names it: `6.1`."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
