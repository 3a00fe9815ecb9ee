"""`drop`: the event is never delivered."""

from __future__ import annotations

from faults.chance import Chance
from faults.kinds import base
from faults.rule import FaultRule


class Drop(base.FaultKind):
    """The event is lost on its way."""

    name = "drop"
    meaning = "the event is lost and never delivered"
    example = base.Example(
        """\
[[rule]]
fault = "drop"
direction = "prefill"        # acknowledgements; completions if left out
probability = 0.02
"""
    )
    stage = base.Stage.LOST

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Lose the event."""
        fate.lost_by.append(rule)

    def in_words(self, rule: FaultRule) -> str:
        """What it does."""
        return "lost on their way"
