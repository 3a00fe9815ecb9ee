"""Dice for random rules; each order of magnitude of a probability or a time is as likely as another."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from faults.chance import Duration, LogNormal, Uniform

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DrawBounds:
    """How often and how hard drawn rules hit."""

    #: Each kind of fault takes part with this probability, and at least one does.
    kind_probability: float = 0.35
    #: Times that a rule is expected to hit at least; in a short trace this goes before the two
    #: bounds below, for a rule that never hits tests nothing.
    hits_min: int = 8
    probability_max: float = 0.5
    #: Share of requests whose client goes away, at most.
    abort_rate_max: float = 0.2
    delay_us_min: int = 200_000
    delay_us_max: int = 60_000_000
    copies_max: int = 3


class Dice:
    """What kinds draw the keys of their rules with, for a trace of so many requests."""

    def __init__(self, random_: random.Random, bounds: DrawBounds, requests: int) -> None:
        self._random = random_
        self._bounds = bounds
        #: The probability at which a rule is expected to hit as often as it must.
        self._probability_min = min(1.0, bounds.hits_min / max(1, requests))

    def choice(self, options: Sequence[_T]) -> _T:
        """One of them."""
        return self._random.choice(options)

    def some(self, options: Sequence[_T]) -> list[_T]:
        """A random subset of kinds, never empty."""
        share = self._bounds.kind_probability
        return [each for each in options if self._random.random() < share] or [self.choice(options)]

    def probability(self) -> float:
        """That a rule hits an event."""
        return self._between(self._probability_min, self._bounds.probability_max)

    def often(self) -> float:
        """A probability of one half or more, for faults that mostly change nothing."""
        return round(self._random.uniform(0.5, 1.0), 4)

    def abort_rate(self) -> float:
        """A share of requests whose client goes away."""
        return self._between(self._probability_min, self._bounds.abort_rate_max)

    def copies(self) -> int:
        """A number of copies."""
        return self._random.randint(1, self._bounds.copies_max)

    def delay(self) -> Duration:
        """A time, or a distribution of times."""
        shape = self.choice(("fixed", "uniform", "lognormal"))
        middle_us, most_us = self._time(), self._bounds.delay_us_max
        if shape == "uniform":
            return Uniform(self._bounds.delay_us_min, min(2 * middle_us, most_us))
        return LogNormal(middle_us, 1.0, most_us) if shape == "lognormal" else middle_us

    def window_us(self) -> int:
        """A time within which events may change places."""
        return min(10 * self._time(), self._bounds.delay_us_max)

    def _between(self, least: float, most: float) -> float:
        if least < most:
            least = math.exp(self._random.uniform(math.log(least), math.log(most)))
        # As short as people write it; in a long trace the first digits may stand far back.
        return float(f"{least:.4g}")

    def _time(self) -> int:
        least, most = math.log(self._bounds.delay_us_min), math.log(self._bounds.delay_us_max)
        return round(math.exp(self._random.uniform(least, most)))
