"""Random numbers that depend on what they are about, and on nothing drawn before.

From them follow the times that a rule draws (`Duration`) and the windows in which it acts (`Burst`).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias

_HASH_RANGE = float(1 << 64)
#: The largest number below 1: the highest hashes would be rounded up to 1 itself.
_CHANCE_MAX = 1.0 - 2.0**-53

#: What is said of any other value, wherever it stands.
PROBABILITY_WORDS = "must be a number between 0 and 1"


def checked_probability(value: object) -> float:
    """The same number.

    Raises:
        ValueError: it is no probability.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return value
    raise ValueError(PROBABILITY_WORDS)


def uniform(seed: int, rule_name: str, about: str) -> float:
    """A number in [0, 1) that depends on these three things and on nothing else."""
    key = f"{seed}\x1f{rule_name}\x1f{about}".encode()
    drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return min(drawn / _HASH_RANGE, _CHANCE_MAX)


@dataclass(frozen=True, slots=True)
class Chance:
    """The random numbers of one rule about one event, transfer or moment."""

    seed: int
    rule_name: str
    #: Identity of what they are about.
    about: str

    def number(self, what: str) -> float:
        """A number in [0, 1) for one purpose."""
        return uniform(self.seed, self.rule_name, f"{self.about}\x1f{what}")

    def time_us(self, duration: Duration, what: str) -> int:
        """A fixed duration, or one drawn for this purpose."""
        return duration if isinstance(duration, int) else draw_us(duration, self.number(what))


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

#: How a plan gives a time, and what the time then is.
DURATION_FORMS: dict[str, str] = {
    "500_000": "always this number of microseconds",
    "{ uniform = [1_000, 500_000] }": "drawn for each event, every time in between equally likely",
    "{ lognormal = { median_us = 50_000, sigma = 1.5, max_us = 9_000_000 } }": (
        "drawn for each event: half are shorter than the median, a few much longer"
    ),
}


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


@dataclass(frozen=True, slots=True)
class Burst:
    """Windows of virtual time in which a rule acts.

    Time is cut into slots of `every_us`. In each slot a window of `length_us` opens at a moment drawn
    for it, or with 1 - `probability` none does. It follows from (seed, rule, slot, rank) alone.

        |----slot----|----slot----|----slot----|
           [window]   [window]         (none)
    """

    length_us: int
    every_us: int
    probability: float = 1.0
    #: Each pool has windows of its own, or all have the same.
    hits: Literal["rank", "all"] = "rank"

    def is_on(self, seed: int, rule_name: str, pool: str, at_us: int) -> bool:
        """Whether a window of this pool is open."""
        slot, into_us = divmod(at_us, self.every_us)
        about = f"burst\x1f{slot}\x1f{pool if self.hits == 'rank' else '*'}"
        if uniform(seed, rule_name, about) >= self.probability:
            return False
        room_us = self.every_us - self.length_us + 1
        opens_us = int(uniform(seed, rule_name, f"{about}\x1fopens") * room_us)
        return opens_us <= into_us < opens_us + self.length_us
