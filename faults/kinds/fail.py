"""`fail`: the event says that the transfer failed."""

from __future__ import annotations

from faults.chance import Chance
from faults.kinds import base
from faults.rule import FaultRule


class Fail(base.FaultKind):
    """The event is delivered on time and reports a failure."""

    name = "fail"
    meaning = (
        "the event is delivered on time and says that the transfer failed; its bytes never land"
    )
    example = base.Example(
        """\
[[rule]]
fault = "fail"
burst = { length_us = 500_000, every_us = 5_000_000, hits = "all" }
"""
    )
    stage = base.Stage.FAILED
    shows = frozenset({"consumed"})
    told = "{name} reported at {came} that the transfer had failed"

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Have every delivery report a failure."""
        fate.has_failed = True

    def in_words(self, rule: FaultRule) -> str:
        """What it does."""
        return "delivered on time as failures, and the bytes never land"
