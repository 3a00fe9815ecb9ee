"""How long a delay is: always the same, or drawn anew for each event it hits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

#: The longest delay, a year: far beyond any replay, and within 64 bits when some are added up.
DELAY_US_MAX = 365 * 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every duration from `low_us` to `high_us`, both included, is equally likely."""

    low_us: int
    high_us: int


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Half of all durations are shorter than `median_us`; `sigma` is that of their logarithm."""

    median_us: int
    sigma: float
    #: Longer ones are cut to this.
    max_us: int = DELAY_US_MAX


#: A fixed number of microseconds, or a distribution.
Duration: TypeAlias = int | Uniform | LogNormal


def draw_us(duration: Duration, chance: float) -> int:
    """The duration that belongs to a number in [0, 1): its inverse distribution function."""
    if isinstance(duration, int):
        return duration
    if isinstance(duration, Uniform):
        return duration.low_us + int(chance * (duration.high_us - duration.low_us + 1))
    # Zero and one have no place under a normal curve.
    deviation = NormalDist().inv_cdf(min(max(chance, 1e-15), 1 - 1e-15))
    exponent = math.log(duration.median_us) + duration.sigma * deviation
    if exponent >= math.log(duration.max_us):
        return duration.max_us
    return round(math.exp(exponent))
