"""Step curves as inline SVG: panels one above the other on one axis, drawn when the page is made.

The drawing holds no script and loads nothing. Its colours are those of `PALETTE`; the page's style
sheet finds them by value and swaps them for a dark screen, so both must name the same ones. The
page's script draws the timeline again at any zoom (`parts/timeline/drawing.js`) and lays it out alike,
so that nothing moves when it takes over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from reports.drawings.series import NEVER, Marks
from reports.drawings.steps import Span
from reports.words import number
from traces.text import printable

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
    "held": "#b07a00",
    "stuck": "#b3261e",
    "orphaned": "#7a1f6b",
    "other": "#8a93a0",
    "inject": "#fbeee6",
    "heal": "#e6f4ea",
    "repeat": "#e8eef8",
}
#: A cross, as long and as wide as its mark.
CROSS = "M-.7,-.7L.7,.7M-.7,.7L.7,-.7"


def tint(phase: str) -> str:
    """The colour of a phase; all repeats have the same."""
    return PALETTE[phase if phase in ("inject", "heal") else "repeat"]


#: Panels too low for more than two labels on their axis.
SMALL = 44
_RIGHT, _PHASES, _FAULT_ROW = 8, 18, 20


@dataclass(frozen=True, slots=True)
class Size:
    """A drawing's width, font size and room for labels on the left, in pixels."""

    width: int
    font: int
    left: int
    #: Height of a panel.
    panel: int
    #: Stretches of time of which each series shows its extremes.
    columns: int

    @property
    def plot(self) -> int:
        """Width of the panels themselves."""
        return self.width - self.left - _RIGHT


WIDE = Size(width=1058, font=12, left=90, panel=130, columns=375)
#: Of drawings that no script replaces, so that a tablet shows their words large enough.
MEDIUM = Size(width=760, font=12, left=90, panel=130, columns=300)
NARROW = Size(width=310, font=11, left=74, panel=96, columns=228)


@dataclass(frozen=True, slots=True)
class Axis:
    """What its ends stand for, and the values that are labelled."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_logarithmic: bool = False

    def parts(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Where values lie between the ends, from 0 to 1; those beyond lie at the nearer end."""
        at = np.clip(np.asarray(values, np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.is_logarithmic:
            at, low, high = np.log10(at), math.log10(low), math.log10(high)
        found: npt.NDArray[np.float64] = (at - low) / (high - low)
        return found


def time_axis(start_us: int, end_us: int, size: Size) -> Axis:
    """Virtual time in seconds over exactly this stretch."""
    step = _round_step(end_us - start_us, max(size.plot // 110, 3))
    digits = min(max(6 - math.floor(math.log10(step) + 1e-9), 0), 6)
    ticks = range(-(-start_us // step) * step, end_us + 1, step)
    return Axis(start_us, end_us, tuple((at, f"{at / 1e6:,.{digits}f} s") for at in ticks))


def value_axis(low: int, high: int, height: int) -> Axis:
    """Whole numbers, from a round one to a round one."""
    high = max(high, low + 1)
    nice = _round_step(high - low, 8)
    low, high = low // nice * nice, -(-high // nice) * nice
    step = high - low if height <= SMALL else _round_step(high - low, height // 24)
    ticks = range(-(-low // step) * step, high + 1, step)
    return Axis(low, high, tuple((at, number(at)) for at in ticks))


def _round_step(span: int, parts: int) -> int:
    """The finest round step that fits into a span at most so many times; at least 1."""
    power: int = 10 ** math.floor(math.log10(max(span / parts, 1)))
    return power * next((each for each in (1, 2, 5) if span // (power * each) <= parts), 10)


@dataclass(frozen=True, slots=True)
class Line:
    """A step line: each value holds until the next place; `colour` is a name in `PALETTE`."""

    places: npt.NDArray[Any]
    values: npt.NDArray[Any]
    colour: str
    title: str = ""
    #: Lengths of dashes and of what is between them, in pixels; solid when empty.
    dash: tuple[int, ...] = ()
    #: Whether it is filled down to zero.
    is_filled: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines on one scale; without a title there is nothing above them."""

    title: str
    lines: tuple[Line, ...]
    axis: Axis
    height: int
    has_legend: bool = False
    #: Whether its labelled values are lines across.
    is_ruled: bool = False
    #: A value that is drawn as a dashed line.
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """Panels over one axis, with phases shaded behind them and fault marks under them."""

    across: Axis
    panels: tuple[Panel, ...]
    phases: tuple[Span, ...] = ()
    names_phases: bool = False
    marks: Marks | None = None


def svg_of(chart: Chart, size: Size) -> Markup:
    """The chart as an element of a page, which says in words what it shows."""
    parts, height = parts_of(chart, size)
    return svg(parts, size, height, 'aria-hidden="true" focusable="false"')


def svg(parts: Iterable[str], size: Size, height: float, more: str) -> Markup:
    """Parts of a drawing as one SVG; `more` are attributes."""
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size.width} {height:g}" '
        f'width="{size.width}" font-size="{size.font}" font-family="sans-serif" {more}>'
        f"{''.join(parts)}</svg>"
    )


def parts_of(chart: Chart, size: Size, top: float = 2) -> tuple[list[str], float]:
    """What is drawn from `top` downwards, and where it ends."""
    pen = _Pen(chart, size)
    if chart.names_phases:
        pen.shade(top, _PHASES, named=True)
        top += _PHASES + 6
    for panel in chart.panels:
        top = pen.panel(panel, top)
    if chart.marks is not None and len(chart.marks):
        top = pen.faults(chart.marks, top)
    return pen.parts, top + 2


class _Pen:
    """Draws the panels of one chart."""

    def __init__(self, chart: Chart, size: Size) -> None:
        self.parts: list[str] = []
        self._chart, self._size = chart, size
        self._right = size.width - _RIGHT

    def shade(self, top: float, height: float, *, named: bool = False) -> None:
        """The phases as tinted bands, with their names where there is room for them."""
        for phase in self._chart.phases:
            start, end = self._across([phase.start_us, phase.end_us])
            width = round(end - start, 1)
            self.parts.append(
                f'<rect x="{start:g}" y="{top:g}" width="{width:g}" height="{height}" fill="{tint(phase.name)}"/>'
            )
            if named and width > 0.7 * self._size.font * len(phase.name):
                middle = round(start + width / 2, 1)
                self._text(middle, top + height / 2 + self._size.font / 3, phase.name, "ink")

    def panel(self, panel: Panel, top: float) -> float:
        """One panel; returns where it ends."""
        font = self._size.font
        if panel.title:
            self._title(panel.title, top)
        top += font + 13 if panel.title else 8
        if panel.has_legend:
            top = self._legend(panel.lines, top - 7) + 7
        bottom = top + panel.height
        self.shade(top, panel.height)
        self._ticks(top, bottom)

        def down(values: npt.ArrayLike) -> list[float]:
            return _rounded(bottom - panel.axis.parts(values) * panel.height)

        for (_, words), y in zip(
            panel.axis.ticks, down([at for at, _ in panel.axis.ticks]), strict=True
        ):
            if panel.is_ruled:
                self._path(f"M{self._size.left},{y:g}h{self._size.plot}", "grid")
            self._path(f"M{self._size.left - 4},{y:g}h4", "other")
            self._text(self._size.left - 6, y + font / 3, words, "soft", "end")
        if panel.limit is not None:
            [y] = down([panel.limit])
            self._path(f"M{self._size.left},{y:g}h{self._size.plot}", "soft", dash=(4, 3))
        for line in panel.lines:
            places = self._across(line.places)
            d = _steps(places, down(line.values))
            if line.is_filled and d:
                fill = f'fill="{PALETTE[line.colour]}" fill-opacity="0.22"'
                self.parts.append(
                    f'<path class="area" d="{d}V{down([0])[0]:g}H{places[0]:g}Z" {fill}/>'
                )
            self._path(d, line.colour, width=1.5, dash=line.dash, kind="line")
        return bottom + font + 12

    def faults(self, marks: Marks, top: float) -> float:
        """A row for each fault, so that none is told from another by its colour alone."""
        across, size = self._chart.across, self._size
        self._title("faults, by send time", top)
        top += size.font + 8
        kept = marks.reduce(int(across.low), int(across.high), size.plot)
        bottom = top + _FAULT_ROW * len(kept.names)
        self._ticks(top, bottom)
        room = int(size.left / size.font * 1.7)
        for row, name in enumerate(kept.names):
            y = top + _FAULT_ROW * (row + 0.5) + size.font / 3
            self._text(size.left - 6, y, _cut(name, room), "soft", "end")
        # This pool's are drawn last, over the others.
        for is_here, colour, length in ((False, "other", 2.6), (True, "gap", 4.5)):
            mine = kept.some(np.flatnonzero(kept.here == is_here))
            ends = np.where(mine.delivered_us == NEVER, mine.sent_us, mine.delivered_us)
            for fault, lost, x, end in zip(
                mine.fault.tolist(),
                (mine.delivered_us == NEVER).tolist(),
                self._across(mine.sent_us),
                self._across(ends),
                strict=True,
            ):
                self._mark(x, end, top + _FAULT_ROW * (fault + 0.5), lost, colour, length)
        return bottom + size.font + 12

    def _mark(self, x: float, end: float, y: float, lost: bool, colour: str, length: float) -> None:
        """A cross where an event was lost, else a circle and a bar up to its delivery."""
        stroke = f'stroke="{PALETTE[colour]}"'
        if end > x:
            bar = 'stroke-width="2" stroke-opacity="0.5"'
            self.parts.append(f'<path d="M{x:g},{y:g}H{end:g}" {stroke} {bar}/>')
        if lost:
            place = f'transform="translate({x:g},{y:g}) scale({length * 1.3:.2f})"'
            self.parts.append(
                f'<path d="{CROSS}" {stroke} stroke-width="{1.5 / length:.2f}" {place}/>'
            )
        else:
            self.parts.append(
                f'<circle cx="{x:g}" cy="{y:g}" r="{length}" fill="none" {stroke} stroke-width="1.5"/>'
            )

    def _ticks(self, top: float, bottom: float) -> None:
        """The labelled places of the axis across, as lines through a panel."""
        size, ticks = self._size, self._chart.across.ticks
        for (_, words), x in zip(ticks, self._across([at for at, _ in ticks]), strict=True):
            self._path(f"M{x:g},{top:g}V{bottom + 4:g}", "grid")
            anchor = "start" if x - size.left < 12 else "end" if self._right - x < 28 else "middle"
            self._text(x, bottom + 4 + size.font, words, "soft", anchor)
        self._path(f"M{size.left},{bottom:g}h{size.plot}", "other")

    def _legend(self, lines: Sequence[Line], top: float) -> float:
        """A line is told by its dashes as well as by its colour; returns where the legend ends."""
        size, x = self._size, float(self._size.left)
        for line in lines:
            width = 44 + len(line.title) * size.font * 0.56
            if x > size.left and x + width > size.width:
                x, top = size.left, top + size.font + 4
            y = top + size.font / 2 + 3
            self._path(f"M{x:g},{y:g}h26", line.colour, width=2, dash=line.dash)
            self._text(round(x + 31, 1), y + size.font / 3, line.title, "ink", "start")
            x += round(width, 1)
        return top + size.font + 4

    def _title(self, title: str, top: float) -> None:
        words = _cut(title, int(self._size.width / self._size.font * 1.6))
        self._text(2, top + self._size.font + 2, words, "ink", "start", ' font-weight="600"')

    def _across(self, places: npt.ArrayLike) -> list[float]:
        return _rounded(self._size.left + self._chart.across.parts(places) * self._size.plot)

    def _path(
        self, d: str, colour: str, *, width: float = 1, dash: tuple[int, ...] = (), kind: str = ""
    ) -> None:
        more = f' class="{kind}"' if kind else ""
        more += f' stroke-width="{width:g}"' if width != 1 else ""
        more += f' stroke-dasharray="{",".join(map(str, dash))}"' if dash else ""
        self.parts.append(f'<path d="{d}" fill="none" stroke="{PALETTE[colour]}"{more}/>')

    def _text(
        self, x: float, y: float, words: str, colour: str, anchor: str = "middle", more: str = ""
    ) -> None:
        # Names of pools, phases and faults are whatever a recording says.
        text = escape(printable(words))
        place = f'x="{x:g}" y="{round(y, 1):g}" text-anchor="{anchor}"'
        self.parts.append(f'<text {place} fill="{PALETTE[colour]}"{more}>{text}</text>')


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    """A tenth of a pixel is enough."""
    rounded: list[float] = np.round(values, 1).tolist()
    return rounded


def _steps(across: Sequence[float], down: Sequence[float]) -> str:
    """Points as the path of a step line."""
    if not across:
        return ""
    more = (f"H{x:g}V{y:g}" for x, y in zip(across[1:], down[1:], strict=True))
    return f"M{across[0]:g},{down[0]:g}{''.join(more)}"


def _cut(text: str, most: int) -> str:
    """As much of a text as there is room for."""
    return text if len(text) <= most else text[: max(most - 1, 1)] + "\N{HORIZONTAL ELLIPSIS}"
