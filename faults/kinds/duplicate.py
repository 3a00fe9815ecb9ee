"""`duplicate`: the event is delivered, and then again."""

from __future__ import annotations

import dataclasses
from typing import Any

from faults.chance import Chance
from faults.kinds.base import (
    Copy,
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
from faults.rule import FaultRule


class Duplicate(FaultKind):
    """Copies of the event follow the original."""

    name = "duplicate"
    meaning = (
        "the event is delivered, and then again `copies` times, each after its `copy_delay_us`"
    )
    example = Example(
        """\
[[rule]]
fault = "duplicate"
probability = 0.05
copies = 2
copy_delay_us = [10_000, 500_000]
"""
    )
    stage = Stage.AGAIN
    may = frozenset({"copies", "copy_delay_us"})

    def complaint(self, rule: FaultRule) -> tuple[str, str] | None:
        """A list of delays has one for each copy."""
        delays = rule.copy_delay_us
        if not isinstance(delays, tuple) or len(delays) == rule.copies:
            return None
        return "copy_delay_us", (
            f"{len(delays)} delays for {rule.copies} copies; give one for each"
        )

    def schema(self) -> dict[str, Any]:
        """One copy, and so one delay, where `copies` is left out."""
        return {
            "if": {"not": {"required": ["copies"]}},
            "then": {"properties": {"copy_delay_us": {"maxItems": 1}}},
        }

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Add the copies."""
        for number in range(1, rule.copies + 1):
            fate.copies.append(Copy(rule, self._after_us(rule, number, chance)))

    def told(self, event: EventWords) -> str | None:
        """Whether it is a copy."""
        return f"{event.name} came{' again' if event.is_copy else ''} at {event.came}"

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """How many copies, and when."""
        apart = words.duration(rule.copy_delay_us)
        if rule.copies == 1:
            return f"delivered, and then again {apart} later"
        return f"delivered, and then again {words.number(rule.copies)} times, {apart} apart"

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """A few copies, and the time between them."""
        return dataclasses.replace(rule, copies=dice.copies(), copy_delay_us=dice.delay())

    def simplify(self, tries: Shrinking) -> None:
        """One number for the times of all copies, then fewer copies, then shorter times."""
        delays = tries.rule.copy_delay_us
        if isinstance(delays, tuple) and not any(
            tries.change(copies=1, copy_delay_us=each) for each in dict.fromkeys(delays)
        ):
            tries.change(copy_delay_us=delays[0])
        if isinstance(tries.rule.copy_delay_us, int):
            tries.fewer("copies")
            tries.shorter("copy_delay_us")

    def as_drawn(self, rule: FaultRule, chance: Chance) -> FaultRule:
        """The same with the times that were drawn."""
        if isinstance(rule.copy_delay_us, int | tuple):
            return rule
        drawn = (self._after_us(rule, each, chance) for each in range(1, rule.copies + 1))
        return dataclasses.replace(rule, copy_delay_us=tuple(drawn))

    @staticmethod
    def _after_us(rule: FaultRule, number: int, chance: Chance) -> int:
        """How long after the original the copy of that number is delivered."""
        delay = rule.copy_delay_us
        if isinstance(delay, tuple):
            return delay[number - 1]
        return (
            number * delay if isinstance(delay, int) else chance.time_us(delay, f"copy\x1f{number}")
        )
