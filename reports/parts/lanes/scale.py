"""The time scale of a picture of lanes: stretched, so that a millisecond and ten minutes both show.

Between two neighbouring moments time runs evenly; how much room a stretch gets grows with the
logarithm of its length. So moments keep their order, a longer stretch is never drawn shorter, and
every state has room for its word.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

#: What the shortest stretch gets, enough for one line of text, and what each tenfold adds.
_STRETCH_MIN = 17.0
_PER_TENFOLD = 7.0
#: A stretch of this length gets little more than the least, in microseconds.
_UNIT_US = 200
#: A stretch that is drawn this many times shorter than another, for its time, gets a break mark.
_BREAK_RATIO = 50.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Moments in order, and where on the axis each one lies."""

    moments_us: tuple[int, ...]
    places: tuple[float, ...]

    @property
    def length(self) -> float:
        """How long the axis is."""
        return self.places[-1]

    def place(self, at_us: int) -> float:
        """Where a moment lies; one outside of the scale lies at its nearer end."""
        if at_us <= self.moments_us[0]:
            return self.places[0]
        if at_us >= self.moments_us[-1]:
            return self.places[-1]
        at = bisect_right(self.moments_us, at_us)
        start_us, end_us = self.moments_us[at - 1 : at + 1]
        start, end = self.places[at - 1 : at + 1]
        return start + (end - start) * (at_us - start_us) / (end_us - start_us)

    def breaks(self) -> tuple[float, ...]:
        """The middles of stretches that are drawn much shorter, for their time, than others."""
        stretches = [
            (after_us - before_us, after - before, (before + after) / 2)
            for before_us, after_us, before, after in zip(
                self.moments_us, self.moments_us[1:], self.places, self.places[1:], strict=False
            )
        ]
        if not stretches:
            return ()
        shortest = min(length_us / room for length_us, room, _ in stretches)
        return tuple(
            middle
            for length_us, room, middle in stretches
            if length_us / room >= _BREAK_RATIO * shortest
        )


def make_scale(moments_us: Iterable[int]) -> Scale:
    """The scale on which all of these moments have a place of their own; there must be one."""
    moments = sorted(set(moments_us))
    places = [0.0]
    for before_us, after_us in itertools.pairwise(moments):
        room = _STRETCH_MIN + _PER_TENFOLD * math.log10(1 + (after_us - before_us) / _UNIT_US)
        places.append(round(places[-1] + room, 1))
    return Scale(tuple(moments), tuple(places))
