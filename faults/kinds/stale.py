"""`stale`: the event is delivered once more when its pages or its room belong to another request."""

from __future__ import annotations

import dataclasses

from faults.chance import Chance
from faults.events import Direction
from faults.kinds.base import (
    Copy,
    Deployment,
    Dice,
    EventWords,
    Example,
    Fate,
    FaultKind,
    Only,
    Stage,
    Wording,
)
from faults.rule import CONDITION_MEANINGS, FaultRule


class Stale(FaultKind):
    """A copy of the event waits until what it names is reused."""

    name = "stale"
    meaning = "the event is delivered, and once more after its pages or its room have been reused"
    example = Example(
        """\
[[rule]]
fault = "stale"
until = "pages-reused"       # or "room-reused"
delay_us = 5_000
probability = 0.1
"""
    )
    stage = Stage.AGAIN
    may = frozenset({"until", "delay_us"})
    only = (Only("until", ("pages-reused", "room-reused"), '"{}" is no reuse'),)

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Add the copy."""
        after_us = chance.time_us(rule.delay_us, "delay")
        fate.copies.append(Copy(rule, after_us, rule.until or "pages-reused"))

    def told(self, event: EventWords) -> str | None:
        """Whether it is the copy."""
        if not event.is_copy:
            return f"{event.name} came at {event.came}"
        return f"{event.name} came again at {event.came}, after others had been given what it names"

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """When the copy is delivered."""
        after = f"{words.duration(rule.delay_us)} after" if rule.delay_us else "when"
        reused = CONDITION_MEANINGS[rule.until or "pages-reused"]
        return f"delivered, and once more {after} {reused}"

    def why_none_landed(self, rule: FaultRule) -> str:
        """Nothing was reused in time."""
        return super().why_none_landed(
            dataclasses.replace(rule, until=rule.until or "pages-reused")
        )

    def directions(self, deployment: Deployment) -> tuple[Direction, ...]:
        """Completions, where pages come round soon.

        Freed pages are given out next, but where they are sorted, or are single tokens, a big pool
        takes long to come round. An acknowledgement of a prompt whose pages the cache took over is
        hard to make stale.
        """
        comes_round = not deployment.allocator_sorts_pages and deployment.page_size > 1
        return ("decode",) if comes_round else ()

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """Often: the copy mostly changes nothing, because the page stays free."""
        return dataclasses.replace(rule, probability=dice.often())
