"""Charts as inline SVG: Altair builds the specification, vl-convert draws it when the page is made.

The drawing holds no script and loads nothing. Its colours are those of `PALETTE`; the page's style
sheet finds them by value and swaps them for a dark screen, so both must name the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from reports.charts.readings import AVAILABLE, GAP, Series
from reports.charts.steps import Steps
from reports.charts.strips import PALETTE, Size, fault_strip, phase_strip, shades, time_axis
from reports.charts.timeline import PoolGaps, Span, Timeline
from traces.text import all_printable


def timeline_svg(timeline: Timeline, size: Size) -> str:
    """One pool: its gap, what is available, who holds the rest, and the fault marks."""
    with trusted():
        return _render(timeline_chart(timeline, size), size)


def trusted() -> AbstractContextManager[None]:
    """While charts are made here, Altair need not check each piece of them against its schema.

    That takes nine tenths of the time (`altair.utils.schemapi.debug_mode`); tests draw everything.
    """
    from altair.utils import schemapi

    return schemapi.debug_mode(False)


def timeline_chart(timeline: Timeline, size: Size) -> Any:
    """The same as an Altair chart, its panels one above the other."""
    import altair as alt

    panels = [phase_strip(timeline.phases, timeline.window, size)]
    panels.append(_panel("gap, tokens", (GAP,), timeline, size))
    panels.append(_panel("available, tokens (dashed: total)", (AVAILABLE,), timeline, size))
    if timeline.holders:
        panels.append(_panel("held, tokens", timeline.holders, timeline, size))
    if len(timeline.marks):
        panels.append(fault_strip(timeline, size))
    # Each panel has series of its own, so no scale of their looks is shared.
    drawn = alt.vconcat(*panels, spacing=10)
    return drawn.resolve_scale(color="independent", strokeDash="independent")


def pool_gaps_svg(gaps: PoolGaps, size: Size) -> str:
    """The gap of each pool on one scale, and their sum on another."""
    import altair as alt

    lows_highs = [steps.extremes() for _, steps in gaps.pools]
    domain = [min(low for low, _ in lows_highs), max(high for _, high in lows_highs)]
    with trusted():
        panels = [_small("all pools together", gaps.total, None, gaps, size)]
        panels += [_small(pool, steps, domain, gaps, size) for pool, steps in gaps.pools]
        return _render(alt.vconcat(*panels, spacing=8), size)


def _panel(title: str, series: tuple[Series, ...], timeline: Timeline, size: Size) -> Any:
    """Some series with shaded phases; beside what is available, the total is drawn dashed."""
    import altair as alt

    layers = [shades(timeline.phases, timeline.window, size)]
    if series == (GAP,):
        layers.append(_area(timeline.steps["gap"], size, timeline.window, columns=size.columns))
    else:
        layers.append(_lines(series, timeline, size))
    if series == (AVAILABLE,):
        data = alt.InlineData(values=[{"value": timeline.total_tokens}])
        dashed = alt.Chart(data).mark_rule(color=PALETTE["soft"], strokeDash=[4, 3], strokeWidth=1)
        layers.append(dashed.encode(y=alt.Y("value:Q", title=None)))
    return alt.layer(*layers).properties(width=size.plot, height=size.panel, title=alt.Title(title))


def _small(title: str, steps: Steps, domain: list[int] | None, gaps: PoolGaps, size: Size) -> Any:
    import altair as alt

    area = _area(steps, size, gaps.window, ticks=2, domain=domain, columns=size.columns // 2)
    layers = alt.layer(shades(gaps.phases, gaps.window, size), area)
    return layers.properties(width=size.plot, height=44, title=alt.Title(title))


def _data(series: Iterable[tuple[str, Steps]], columns: int) -> Any:
    """Reduced series by title, as one text of rows: Altair walks through every value of a list."""
    import altair as alt

    rows = ["time,value,series"]
    for title, steps in series:
        reduced = steps.reduce(columns)
        points = zip((reduced.time_us / 1e6).tolist(), reduced.value.tolist(), strict=True)
        rows += [f"{time!r},{value},{title}" for time, value in points]
    return alt.InlineData(values="\n".join(rows), format=alt.CsvDataFormat(type="csv"))


def _area(
    steps: Steps,
    size: Size,
    window: Span,
    *,
    columns: int,
    ticks: int = 4,
    domain: list[int] | None = None,
) -> Any:
    """A gap: a step line filled down to zero, on a scale of its own where none is given."""
    import altair as alt

    chart = alt.Chart(_data([("gap", steps)], columns))
    low, high = domain or steps.extremes()
    # A gap that is nowhere still has an axis.
    top = 1 if low == high == 0 else max(high, 0)
    scale = alt.Scale(domain=[min(low, 0), top], nice=True)
    return chart.mark_area(
        color=PALETTE["gap"],
        fillOpacity=0.22,
        line={"color": PALETTE["gap"], "strokeWidth": 1.5},
        interpolate="step-after",
        clip=False,
    ).encode(
        x=time_axis(window, size),
        y=alt.Y("value:Q", title=None, scale=scale, axis=_value_axis(size, ticks)),
    )


def _lines(series: tuple[Series, ...], timeline: Timeline, size: Size) -> Any:
    """Step lines on one scale, with a legend where there are several."""
    import altair as alt

    drawn = [(each.title, timeline.steps[each.column]) for each in series]
    names = [each.title for each in series]
    is_holders = series == timeline.holders
    legend = alt.Legend(
        orient="top",
        title=None,
        symbolType="stroke",
        symbolStrokeWidth=2,
        symbolSize=400,
        columns=2 if size.plot < 400 else len(names),
        labelFontSize=size.font,
        labelColor=PALETTE["ink"],
        offset=4,
    )
    return (
        alt.Chart(_data(drawn, size.columns))
        .mark_line(strokeWidth=1.5, interpolate="step-after")
        .encode(
            x=time_axis(timeline.window, size),
            y=alt.Y(
                "value:Q",
                title=None,
                scale=alt.Scale(zero=is_holders, nice=True),
                axis=_value_axis(size, 4),
            ),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=names, range=[PALETTE[each.colour] for each in series]),
                legend=legend if is_holders else None,
            ),
            strokeDash=alt.StrokeDash(
                "series:N",
                scale=alt.Scale(domain=names, range=[list(each.dash) or [1, 0] for each in series]),
                legend=legend if is_holders else None,
            ),
        )
    )


def _value_axis(size: Size, ticks: int) -> Any:
    import altair as alt

    return alt.Axis(
        format=",d", tickCount=ticks, tickMinStep=1, minExtent=size.axis, maxExtent=size.axis
    )


def with_own_ids(svg: str, prefix: str) -> str:
    """The drawing with ids that no other on the page has, the same ones whenever it is drawn."""
    for at, name in enumerate(dict.fromkeys(re.findall(r'\bid="([\w-]+)"', svg))):
        svg = svg.replace(f'id="{name}"', f'id="{prefix}{at}"')
        svg = svg.replace(f"url(#{name})", f"url(#{prefix}{at})")
    return svg


def _render(chart: Any, size: Size) -> str:
    """Draw a chart; the SVG scales with its container and loads nothing."""
    svg = re.sub(r' (?:d|transform)="[^"]*"', _round, plain_svg(specification(chart, size)))
    return re.sub(r'^<svg [^>]*?width="(\d+)" height="(\d+)"[^>]*>', _opening, svg, count=1)


def plain_svg(chart: dict[str, Any]) -> str:
    """A specification drawn, as vl-convert writes it."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart, vl_version=vega_lite(), allowed_base_urls=[])
    return svg


def specification(chart: Any, size: Size, background: str = "transparent") -> dict[str, Any]:
    """A chart with kvreplay's looks, as vl-convert takes it."""
    import altair as alt

    configured = chart.configure(
        aria=False,
        background=background,
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
    # Names of pools and faults are whatever a recording says.
    document: dict[str, Any] = all_printable(configured.to_dict(validate=False))
    return document


def _round(attribute: re.Match[str]) -> str:
    """A hundredth of a pixel is enough, and half the size."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute.group())


def _opening(found: re.Match[str]) -> str:
    width, height = found.groups()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" aria-hidden="true" focusable="false">'
    )


def vega_lite() -> str:
    """The Vega-Lite that Altair wrote for, as vl-convert names it: `6.1`."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
