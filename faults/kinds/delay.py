"""`delay`: the event is delivered late, or not until something has happened."""

from __future__ import annotations

from dataclasses import replace

from faults.chance import Chance
from faults.draw import Dice
from faults.kinds import base
from faults.rule import CONDITION_MEANINGS, FaultRule


class Delay(base.FaultKind):
    """The event is held for a time, until something has happened, or both."""

    name = "delay"
    meaning = "the event is delivered `delay_us` late, or not until something has happened"
    example = base.Example(
        """\
[[rule]]
fault = "delay"
occurrences = [1, 10, 100]   # the 1st, 10th and 100th completion of all
delay_us = { uniform = [100_000, 2_000_000] }
"""
    )
    stage = base.Stage.HELD
    may = frozenset({"delay_us", "until"})
    one_of = ("delay_us", "until")
    shows = frozenset({"late"})
    told = "{name} came {late} late, at {came}"

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Hold every delivery."""
        fate.late_us += chance.time_us(rule.delay_us, "delay")
        if rule.until is not None:
            fate.until.add(rule.until)

    def in_words(self, rule: FaultRule) -> str:
        """For how long, and until what."""
        if rule.until is None:
            return "held back for {delay_us}"
        after = "{delay_us} after " if rule.delay_us else ""
        return f"held back until {after}{CONDITION_MEANINGS[rule.until]}"

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """A time or a distribution."""
        return replace(rule, delay_us=dice.delay())

    def simplify(self, tries: base.Shrinking) -> None:
        """Shorter delays; none at all only where a condition is left."""
        tries.shorter("delay_us", least_us=1 if tries.rule.until is None else 0)
