"""`reorder`: events within a window overtake each other."""

from __future__ import annotations

import dataclasses

from faults.chance import Chance
from faults.kinds.base import (
    Deployment,
    Dice,
    EventWords,
    Example,
    Fate,
    FaultKind,
    Shrinking,
    Stage,
    Wording,
)
from faults.kinds.delay import Delay
from faults.rule import FaultRule


class Reorder(FaultKind):
    """The event is held for a random part of a window."""

    name = "reorder"
    meaning = "the event is held for a random part of `window_us`, so that later ones overtake it"
    example = Example(
        """\
[[rule]]
fault = "reorder"
window_us = 200_000
"""
    )
    stage = Stage.HELD
    must = frozenset({"window_us"})
    shows = frozenset({"late", "overtaken"})
    is_random = True

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Hold every delivery."""
        fate.late_us += self._held_us(rule, chance)

    def told(self, event: EventWords) -> str | None:
        """How late it was delivered."""
        return f"{event.name} was overtaken by others and came {event.late} late, at {event.came}"

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """For how long at most."""
        window = words.time(rule.window_us)
        return f"held back for a random part of {window}, so that later ones overtake them"

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """A wide window, and often: most events have no neighbour to change places with."""
        return dataclasses.replace(rule, window_us=dice.window_us(), probability=dice.often())

    def simplify(self, tries: Shrinking) -> None:
        """Narrower windows."""
        tries.shorter("window_us", least_us=1)

    def as_drawn(self, rule: FaultRule, chance: Chance) -> FaultRule:
        """A delay of what was drawn."""
        held_us = max(1, self._held_us(rule, chance))
        return dataclasses.replace(rule, fault=Delay.name, delay_us=held_us)

    @staticmethod
    def _held_us(rule: FaultRule, chance: Chance) -> int:
        return int(chance.number("delay") * rule.window_us)
