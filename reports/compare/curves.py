"""The gaps of two recordings as step curves on the same scales, drawn as plain SVG.

The drawing holds no text: scales and words stand around it in HTML, so that they stay readable at
any width, and its colours are the page's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup

from reports.charts.steps import Steps, total_steps
from reports.charts.timeline import Span, phases
from reports.evidence import Evidence
from reports.words import number, seconds

#: The drawing's own units; it is stretched to the place it gets.
_WIDTH, _HEIGHT = 600, 160
#: Stretches of time in the table behind a pair of curves.
_BINS = 12


@dataclass(frozen=True, slots=True)
class Curve:
    """One gap over virtual time."""

    drawing: Markup
    #: What somebody who does not see it is told.
    label: str


@dataclass(frozen=True, slots=True)
class CurvePair:
    """The same pool in both recordings, on the same scales."""

    title: str
    before: Curve
    after: Curve
    #: The ends of both axes in words: highest and lowest gap, and the last moment.
    high: str
    low: str
    end: str
    #: Stretch of time, widest gap before, widest gap after: the numbers behind both.
    rows: tuple[tuple[str, str, str], ...]


def make_curves(before: Evidence, after: Evidence) -> tuple[CurvePair, ...]:
    """The pools of both mismatches, and all pools together where more than one has a gap."""
    pools = list(dict.fromkeys(_mismatch_pools(before) + _mismatch_pools(after)))
    faulty = sorted({*_faulty_pools(before), *_faulty_pools(after)})
    end_us = max(before.end_us, after.end_us, 1)
    pairs = []
    if len(faulty) > 1:
        sums = [
            total_steps({pool: _steps(each, pool) for pool in faulty}) for each in (before, after)
        ]
        pairs.append(_pair("All pools together", before, after, sums, end_us))
    for pool in pools:
        series = [_steps(each, pool) for each in (before, after)]
        pairs.append(_pair(pool, before, after, series, end_us))
    return tuple(pairs)


def _mismatch_pools(evidence: Evidence) -> list[str]:
    mismatch = evidence.summary["mismatch"]
    return [] if mismatch is None else [mismatch["pool"]]


def _faulty_pools(evidence: Evidence) -> list[str]:
    audits = evidence.tables["audits"]
    faulty = audits.filter(pc.not_equal(audits["gap"], 0))
    names: list[str] = pc.unique(faulty["pool"]).to_pylist()
    return names


def _steps(evidence: Evidence, pool: str) -> Steps:
    """The gap of a pool over the whole replay; empty where the recording has no such pool."""
    audits = evidence.tables["audits"]
    rows = audits.filter(pc.equal(audits["pool"], pool))
    steps = Steps(rows["time_us"].to_numpy(), rows["gap"].to_numpy())
    return steps.window(0, max(evidence.end_us, 1)) if len(steps) else steps


def _pair(
    title: str, before: Evidence, after: Evidence, series: Sequence[Steps], end_us: int
) -> CurvePair:
    extremes = [steps.extremes() for steps in series]
    low = min(0, *(least for least, _ in extremes))
    high = max(0, *(most for _, most in extremes))
    one, two = (
        Curve(_drawing(each, steps, (low, high), end_us), _label(name, title, steps))
        for name, each, steps in zip(("Before", "After"), (before, after), series, strict=True)
    )
    return CurvePair(
        title,
        one,
        two,
        high=f"{number(high)} tokens",
        low=f"{number(low)} tokens" if low else "0",
        end=seconds(end_us),
        rows=_rows(series[0], series[1], end_us),
    )


def _label(name: str, title: str, steps: Steps) -> str:
    low, high = steps.extremes()
    last = int(steps.value[-1]) if len(steps) else 0
    return (
        f"{name}, {title}: the gap lies between {number(low)} and {number(high)} tokens and is "
        f"{number(last)} at the end."
    )


def _drawing(evidence: Evidence, steps: Steps, span: tuple[int, int], end_us: int) -> Markup:
    """A filled step line over the phases; every value in it is a number of our own."""
    low, high = span
    height = max(high - low, 1)

    def across(time_us: int) -> str:
        return f"{time_us / end_us * _WIDTH:.2f}".rstrip("0").rstrip(".")

    def down(value: int) -> str:
        return f"{(high - value) / height * _HEIGHT:.2f}".rstrip("0").rstrip(".")

    shapes = [
        f'<rect class="phase {"inject" if phase.name == "inject" else "later"}" '
        f'x="{across(phase.start_us)}" y="0" '
        f'width="{across(phase.end_us - phase.start_us)}" height="{_HEIGHT}"/>'
        for phase in phases(evidence, Span("", 0, max(evidence.end_us, 1)))
    ]
    if len(steps):
        reduced = steps.reduce(_WIDTH // 2)
        points = list(zip(reduced.time_us.tolist(), reduced.value.tolist(), strict=True))
        path = [f"M{across(points[0][0])} {down(points[0][1])}"]
        path += [f"H{across(time_us)}V{down(value)}" for time_us, value in points[1:]]
        line = "".join(path)
        close = f"V{down(0)}H{across(points[0][0])}Z"
        shapes.append(f'<path class="area" d="{line}{close}"/><path class="line" d="{line}"/>')
    shapes.append(f'<path class="zero" d="M0 {down(0)}H{_WIDTH}"/>')
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false">{"".join(shapes)}</svg>'
    )


def _rows(before: Steps, after: Steps, end_us: int) -> tuple[tuple[str, str, str], ...]:
    """The widest gap of each stretch of time, before and after."""
    edges = [end_us * at // _BINS for at in range(_BINS + 1)]
    return tuple(
        (
            f"{seconds(start)} to {seconds(end)}",
            number(_widest(before, start, end)),
            number(_widest(after, start, end)),
        )
        for start, end in pairwise(edges)
    )


def _widest(steps: Steps, start_us: int, end_us: int) -> int | None:
    """The value farthest from zero within a stretch; None after the end of a replay."""
    if not len(steps) or start_us >= int(steps.time_us[-1]):
        return None
    value = steps.window(start_us, end_us).value
    return int(value[np.argmax(np.abs(value))])
