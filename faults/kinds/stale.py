"""`stale`: the event is delivered once more when its pages or its room belong to another request."""

from __future__ import annotations

from dataclasses import replace

from faults.chance import Chance
from faults.draw import Dice
from faults.events import Direction
from faults.kinds import base
from faults.rule import CONDITION_MEANINGS, FaultRule


class Stale(base.FaultKind):
    """A copy of the event waits until what it names is reused."""

    name = "stale"
    meaning = "the event is delivered, and once more after its pages or its room have been reused"
    example = base.Example(
        """\
[[rule]]
fault = "stale"
until = "pages-reused"       # or "room-reused"
delay_us = 5_000
probability = 0.1
"""
    )
    stage = base.Stage.AGAIN
    may = frozenset({"until", "delay_us"})
    only = (base.Only("until", ("pages-reused", "room-reused"), '"{}" is no reuse'),)
    told_of_copy = "{name} came again at {came}, after others had been given what it names"

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Add the copy."""
        after_us = chance.time_us(rule.delay_us, "delay")
        fate.copies.append(base.Copy(rule, after_us, rule.until or "pages-reused"))

    def in_words(self, rule: FaultRule) -> str:
        """When the copy is delivered."""
        after = "{delay_us} after" if rule.delay_us else "when"
        return (
            f"delivered, and once more {after} {CONDITION_MEANINGS[rule.until or 'pages-reused']}"
        )

    def why_none_landed(self, rule: FaultRule) -> str:
        """Nothing was reused in time."""
        return super().why_none_landed(replace(rule, until=rule.until or "pages-reused"))

    def directions(self, deployment: base.Deployment) -> tuple[Direction, ...]:
        """Completions: the pages of an acknowledged prompt are mostly taken over by the cache."""
        return ("decode",) if deployment.reuses_pages_soon else ()

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """Often: the copy mostly changes nothing, because the page stays free."""
        return replace(rule, probability=dice.often())
