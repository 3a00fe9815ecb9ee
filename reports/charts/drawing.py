"""Charts as inline SVG: Altair builds the specification, vl-convert draws it when the page is made.

The drawing holds no script and loads nothing. Its colours are those of `PALETTE`; the page's style
sheet finds them by value and swaps them for a dark screen, so both must name the same ones.
"""

from __future__ import annotations

import re
from typing import Any

from reports.charts.steps import Steps
from reports.charts.strips import PALETTE, Size, fault_strip, phase_strip, shades, time_axis
from reports.charts.timeline import PoolGaps, Span, Timeline

#: Points that one series may have, whatever the size.
COLUMNS_MAX = 375


def timeline_svg(timeline: Timeline, size: Size) -> str:
    """Gap and available of one pool, one above the other, over the fault marks."""
    import altair as alt

    panels = [phase_strip(timeline.phases, timeline.window, size)]
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
        panels.append(fault_strip(timeline, size))
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
        shades(timeline.phases, timeline.window, size),
        _line(steps, colour, size, timeline.window, fill=rule is None),
    ]
    if rule is not None:
        data = alt.InlineData(values=[{"value": rule}])
        dashed = alt.Chart(data).mark_rule(color=PALETTE["soft"], strokeDash=[4, 3], strokeWidth=1)
        layers.append(dashed.encode(y=alt.Y("value:Q", title=None)))
    return alt.layer(*layers).properties(width=size.plot, height=size.panel, title=alt.Title(title))


def _small(title: str, steps: Steps, domain: list[int] | None, gaps: PoolGaps, size: Size) -> Any:
    import altair as alt

    line = _line(steps, "gap", size, gaps.window, fill=True, ticks=2, domain=domain)
    layers = alt.layer(shades(gaps.phases, gaps.window, size), line)
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
    chart = alt.Chart(alt.InlineData(values=values))
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
    return marked.encode(
        x=time_axis(window, size), y=alt.Y("value:Q", title=None, scale=scale, axis=axis)
    )


def with_own_ids(svg: str, prefix: str) -> str:
    """The drawing with ids that no other on the page has, the same ones whenever it is drawn."""
    for at, name in enumerate(dict.fromkeys(re.findall(r'\bid="([\w-]+)"', svg))):
        svg = svg.replace(f'id="{name}"', f'id="{prefix}{at}"')
        svg = svg.replace(f"url(#{name})", f"url(#{prefix}{at})")
    return svg


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
        configured.to_dict(validate=False), vl_version=_version(), allowed_base_urls=[]
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
