"""Failures that come together: for a while, everything that one rank (or every rank) is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from faults.chance import uniform


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
