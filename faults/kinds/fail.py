"""`fail`: the event says that the transfer failed."""

from __future__ import annotations

from faults.chance import Chance
from faults.kinds.base import EventWords, Example, Fate, FaultKind, Stage, Wording
from faults.rule import FaultRule


class Fail(FaultKind):
    """The event is delivered on time and reports a failure."""

    name = "fail"
    meaning = (
        "the event is delivered on time and says that the transfer failed; its bytes never land"
    )
    example = Example(
        """\
[[rule]]
fault = "fail"
burst = { length_us = 500_000, every_us = 5_000_000, hits = "all" }
"""
    )
    stage = Stage.FAILED
    shows = frozenset({"consumed"})

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Have every delivery report a failure."""
        fate.has_failed = True

    def told(self, event: EventWords) -> str | None:
        """That it reported a failure."""
        return f"{event.name} reported at {event.came} that the transfer had failed"

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """What it does."""
        return "delivered on time as failures, and the bytes never land"
