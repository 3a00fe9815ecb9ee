"""How many requests still waited for their first token after how long, as curves of an inline SVG.

Both scales are logarithmic, so that one slow request in a thousand shows as well as the many. A curve
counts all requests of its group: where some never got a token, it never comes down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from reports.latency.measures import Group

#: Points of one curve.
_POINTS_MAX = 160
#: Dashes and colour variable of each curve in turn; the legend shows both.
_LOOKS = (("", "stuck"), ("7 3", "held"), ("2 3", "running"), ("9 3 2 3", "orphaned"),
          ("14 4", "cached"))  # fmt: skip
_TICKS = (
    (1e0, "1 \N{MICRO SIGN}s"), (1e1, "10 \N{MICRO SIGN}s"), (1e2, "0.1 ms"), (1e3, "1 ms"),
    (1e4, "10 ms"), (1e5, "0.1 s"), (1e6, "1 s"), (1e7, "10 s"), (1e8, "100 s"), (1e9, "1,000 s"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CurveSize:
    """A drawing's width and height, with what is left of the plot and under it, in pixels."""

    width: int
    height: int
    left: int = 48
    bottom: int = 24
    top: int = 10
    right: int = 16


WIDE = CurveSize(760, 260)
NARROW = CurveSize(324, 220)


def look(at: int) -> tuple[str, str]:
    """Dashes and colour variable of the curve of that number, from 0."""
    return _LOOKS[at % len(_LOOKS)]


def draw_curves(groups: Sequence[Group], size: CurveSize) -> Markup | None:
    """Curves of the groups that have requests; None where none of these has a first token."""
    drawn = [(at, group) for at, group in enumerate(groups) if group.requests]
    served = [group.first_token for _, group in drawn if len(group.first_token)]
    if not served:
        return None
    low = min(max(float(values[0]), 1.0) for values in served)
    high = max(float(values[-1]) for values in served)
    start, end = math.floor(math.log10(low) * 2) / 2, math.ceil(math.log10(max(high, low)) * 2) / 2
    end = max(end, start + 0.5)
    decades = max(math.ceil(math.log10(max(group.requests for _, group in drawn))), 1)
    plot = size.width - size.left - size.right
    depth = size.height - size.top - size.bottom

    def across(value: float) -> float:
        place = (math.log10(max(value, 1.0)) - start) / (end - start)
        return round(size.left + plot * place, 1)

    def down(share: float) -> float:
        """Where a share of the requests lies; none of them at the bottom."""
        place = 1.0 if share <= 0 else min(-math.log10(share) / decades, 1.0)
        return round(size.top + depth * place, 1)

    parts = []
    for decade in range(decades + 1):
        y = down(10.0**-decade)
        parts.append(f'<path class="grid" d="M{size.left} {y}H{size.width - size.right}"/>')
        words = f"{100 * 10.0**-decade:g}%"
        parts.append(f'<text x="{size.left - 6}" y="{y + 4}" text-anchor="end">{words}</text>')
    for value, words in _TICKS:
        if start <= math.log10(value) <= end:
            x = across(value)
            parts.append(f'<path class="grid" d="M{x} {size.top}V{size.top + depth}"/>')
            parts.append(f'<text x="{x}" y="{size.height - 6}" text-anchor="middle">{words}</text>')
    for at, group in drawn:
        dashes, colour = look(at)
        values = group.first_token
        d = f"M{size.left} {down(1)}"
        for rank in _ranks(len(values)):
            d += f"H{across(float(values[rank]))}V{down(1 - (rank + 1) / group.requests)}"
        if len(values) < group.requests:
            d += f"H{size.width - size.right}"
        parts.append(f'<path class="curve c-{colour}" stroke-dasharray="{dashes}" d="{d}"/>')
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size.width} {size.height}" '
        f'width="{size.width}" aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )


def _ranks(count: int) -> list[int]:
    """Which of the values are points of a curve: the slow ones one by one, the many others less so."""
    if not count:
        return []
    behind = np.geomspace(1, count, _POINTS_MAX).round().astype(np.int64)
    ranks: list[int] = np.unique(count - behind).tolist()
    return ranks
