"""How many requests still waited for their first token after how long, as curves.

Both axes are logarithmic, so that one slow request in a thousand shows as well as the many. A curve
counts all requests of its group: where some never got a token, it never comes down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from reports.drawings.step_chart import Axis, Chart, Line, Panel, Size, svg_of
from reports.parts.latency.measures import Group

#: Points of one curve.
_POINTS_MAX = 160
#: Colour (of a drawing and of the style sheet) and dashes of each curve in turn; the legend shows both.
_LOOKS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("stuck", ()),
    ("held", (7, 3)),
    ("running", (2, 3)),
    ("orphaned", (9, 3, 2, 3)),
    ("cached", (14, 4)),
)
_TICKS = (
    (1e0, "1 \N{MICRO SIGN}s"), (1e1, "10 \N{MICRO SIGN}s"), (1e2, "0.1 ms"), (1e3, "1 ms"),
    (1e4, "10 ms"), (1e5, "0.1 s"), (1e6, "1 s"), (1e7, "10 s"), (1e8, "100 s"), (1e9, "1,000 s"),
)  # fmt: skip
_HEIGHT = 225


def look(at: int) -> tuple[str, tuple[int, ...]]:
    """Colour and dashes of the curve of that number, from 0."""
    return _LOOKS[at % len(_LOOKS)]


def draw_curves(groups: Sequence[Group], size: Size) -> Markup | None:
    """Curves of the groups that have requests; None where none of these has a first token."""
    drawn = [(at, group) for at, group in enumerate(groups) if group.requests]
    served = [group.first_token for _, group in drawn if len(group.first_token)]
    if not served:
        return None
    low = min(max(float(values[0]), 1.0) for values in served)
    high = max(float(values[-1]) for values in served)
    start, end = math.floor(math.log10(low) * 2) / 2, math.ceil(math.log10(max(high, low)) * 2) / 2
    end = max(end, start + 0.5)
    ticks = tuple(tick for tick in _TICKS if start <= math.log10(tick[0]) <= end)
    across = Axis(10**start, 10**end, ticks, is_logarithmic=True)
    decades = max(math.ceil(math.log10(max(group.requests for _, group in drawn))), 1)
    shares = [10.0**-decade for decade in range(decades + 1)]
    down = Axis(shares[-1], 1, tuple((each, f"{100 * each:g}%") for each in shares), True)
    lines = tuple(_line(group, *look(at), across) for at, group in drawn)
    return svg_of(Chart(across, (Panel("", lines, down, _HEIGHT, is_ruled=True),)), size)


def _line(group: Group, colour: str, dash: tuple[int, ...], across: Axis) -> Line:
    """The share that is left after each of some requests; those never served stay to the end."""
    values = group.first_token
    ranks = _ranks(len(values))
    places, shares = [across.low], [1.0]
    places += values[ranks].tolist()
    shares += (1 - (ranks + 1) / group.requests).tolist()
    if len(values) < group.requests:
        places.append(across.high)
        shares.append(shares[-1])
    return Line(np.array(places), np.array(shares), colour, dash=dash)


def _ranks(count: int) -> npt.NDArray[np.int64]:
    """Which of the values are points of a curve: the slow ones one by one, the many others less so."""
    if not count:
        return np.empty(0, np.int64)
    behind = np.geomspace(1, count, _POINTS_MAX).round().astype(np.int64)
    return np.unique(count - behind)
