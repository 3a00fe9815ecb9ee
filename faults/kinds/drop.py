"""`drop`: the event is never delivered."""

from __future__ import annotations

from faults.chance import Chance
from faults.kinds.base import Example, Fate, FaultKind, Stage, Wording
from faults.rule import FaultRule


class Drop(FaultKind):
    """The event is lost on its way."""

    name = "drop"
    meaning = "the event is lost and never delivered"
    example = Example(
        """\
[[rule]]
fault = "drop"
direction = "prefill"        # acknowledgements; completions if left out
probability = 0.02
"""
    )
    stage = Stage.LOST

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Lose the event."""
        fate.lost_by.append(rule)

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """What it does."""
        return "lost on their way"

    def why_none_landed(self, rule: FaultRule) -> str:
        """Only an event that came early cannot be lost any more."""
        return LOST_TOO_LATE


#: Why nothing was lost that was to be.
LOST_TOO_LATE = "The events it would have lost had already been delivered early by another rule."
