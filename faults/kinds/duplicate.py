"""`duplicate`: the event is delivered, and then again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from faults.chance import Chance
from faults.draw import Dice
from faults.kinds import base
from faults.rule import FaultRule


class Duplicate(base.FaultKind):
    """Copies of the event follow the original."""

    name = "duplicate"
    meaning = (
        "the event is delivered, and then again `copies` times, each after its `copy_delay_us`"
    )
    example = base.Example(
        """\
[[rule]]
fault = "duplicate"
probability = 0.05
copies = 2
copy_delay_us = [10_000, 500_000]
"""
    )
    stage = base.Stage.AGAIN
    may = frozenset({"copies", "copy_delay_us"})

    def complaint(self, rule: FaultRule) -> tuple[str, str] | None:
        """A list of delays has one for each copy."""
        delays, copies = rule.copy_delay_us, rule.copies
        if not isinstance(delays, tuple) or len(delays) == copies:
            return None
        return "copy_delay_us", f"{len(delays)} delays for {copies} copies; give one for each"

    def schema(self) -> dict[str, Any]:
        """One copy, and so one delay, where `copies` is left out."""
        return {
            "if": {"not": {"required": ["copies"]}},
            "then": {"properties": {"copy_delay_us": {"maxItems": 1}}},
        }

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Add the copies."""
        for number in range(1, rule.copies + 1):
            fate.copies.append(base.Copy(rule, self._after_us(rule, number, chance)))

    def in_words(self, rule: FaultRule) -> str:
        """How many copies, and when."""
        when = (
            "{copy_delay_us} later" if rule.copies == 1 else "{copies} times, {copy_delay_us} apart"
        )
        return f"delivered, and then again {when}"

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """A few copies, and the time between them."""
        return replace(rule, copies=dice.copies(), copy_delay_us=dice.delay())

    def simplify(self, tries: base.Shrinking) -> None:
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
        return replace(rule, copy_delay_us=tuple(drawn))

    @staticmethod
    def _after_us(rule: FaultRule, number: int, chance: Chance) -> int:
        """How long after the original the copy of that number is delivered."""
        delay = rule.copy_delay_us
        if isinstance(delay, tuple):
            return delay[number - 1]
        return (
            number * delay if isinstance(delay, int) else chance.time_us(delay, f"copy\x1f{number}")
        )
