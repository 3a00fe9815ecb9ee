"""`reorder`: events within a window overtake each other."""

from __future__ import annotations

from dataclasses import replace

from faults.chance import Chance
from faults.draw import Dice
from faults.kinds import base
from faults.kinds.delay import Delay
from faults.rule import FaultRule


class Reorder(base.FaultKind):
    """The event is held for a random part of a window."""

    name = "reorder"
    meaning = "the event is held for a random part of `window_us`, so that later ones overtake it"
    example = base.Example(
        """\
[[rule]]
fault = "reorder"
window_us = 200_000
"""
    )
    stage = base.Stage.HELD
    must = frozenset({"window_us"})
    shows = frozenset({"late", "overtaken"})
    is_random = True
    told = "{name} was overtaken by others and came {late} late, at {came}"

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Hold every delivery."""
        fate.late_us += self._held_us(rule, chance)

    def in_words(self, rule: FaultRule) -> str:
        """For how long at most."""
        return "held back for a random part of {window_us}, so that later ones overtake them"

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """A wide window, and often: most events have no neighbour to change places with."""
        return replace(rule, window_us=dice.window_us(), probability=dice.often())

    def simplify(self, tries: base.Shrinking) -> None:
        """Narrower windows."""
        tries.shorter("window_us", least_us=1)

    def as_drawn(self, rule: FaultRule, chance: Chance) -> FaultRule:
        """A delay of what was drawn."""
        return replace(rule, fault=Delay.name, delay_us=max(1, self._held_us(rule, chance)))

    @staticmethod
    def _held_us(rule: FaultRule, chance: Chance) -> int:
        return int(chance.number("delay") * rule.window_us)
