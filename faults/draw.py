"""Random rules: of which kinds, how often they hit and how hard, all from one random generator.

What is drawn can have an effect in the deployment: each kind says in which directions, and draws its
keys itself. Each order of magnitude of a probability or a time is as likely as another.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from faults.chance import Duration, LogNormal, Uniform
from faults.kinds.base import Deployment, FaultKind
from faults.kinds.registry import KINDS
from faults.rule import FaultRule

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


class RuleDice:
    """Draws rules for a trace of so many requests (`faults.kinds.base.Dice`)."""

    def __init__(self, random_: random.Random, bounds: DrawBounds, requests: int) -> None:
        self._random = random_
        self._bounds = bounds
        self._requests = max(1, requests)

    def rules(self, deployment: Deployment) -> tuple[FaultRule, ...]:
        """A rule each of some of the kinds that can have an effect."""
        kinds = [KINDS[name] for name in sorted(KINDS) if KINDS[name].directions(deployment)]
        chosen = [
            kind for kind in kinds if self._random.random() < self._bounds.kind_probability
        ] or [self.choice(kinds)]
        return tuple(self.rule(f"swarm {kind.name}", kind, deployment) for kind in chosen)

    def rule(self, name: str, kind: FaultKind, deployment: Deployment) -> FaultRule:
        """A rule of one kind, which must be able to have an effect."""
        direction = self.choice(kind.directions(deployment))
        probability = self._between(self._hits(), self._bounds.probability_max)
        rule = FaultRule(name, kind.name, direction=direction, probability=probability)
        return kind.drawn(rule, self, deployment)

    def choice(self, options: Sequence[_T]) -> _T:
        """One of them."""
        return self._random.choice(options)

    def often(self) -> float:
        """A probability of one half or more."""
        return round(self._random.uniform(0.5, 1.0), 4)

    def abort_rate(self) -> float:
        """A share of requests whose client goes away."""
        return self._between(self._hits(), self._bounds.abort_rate_max)

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

    def _hits(self) -> float:
        return min(1.0, self._bounds.hits_min / self._requests)

    def _between(self, least: float, most: float) -> float:
        if least >= most:
            return _four_digits(least)
        return _four_digits(math.exp(self._random.uniform(math.log(least), math.log(most))))

    def _time(self) -> int:
        least, most = math.log(self._bounds.delay_us_min), math.log(self._bounds.delay_us_max)
        return round(math.exp(self._random.uniform(least, most)))


def _four_digits(probability: float) -> float:
    """As short as people write it; in a long trace the first of the digits may stand far back."""
    return float(f"{probability:.4g}")
