"""`early`: the event is delivered before its bytes have landed."""

from __future__ import annotations

import dataclasses

from faults.chance import Chance
from faults.events import Direction
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
from faults.rule import FaultRule


class Early(FaultKind):
    """The event overtakes the bytes that it stands for."""

    name = "early"
    meaning = "the event is delivered up to `early_us` before its bytes have landed"
    example = Example(
        """\
[[rule]]
fault = "early"
early_us = 40_000
probability = 0.05
""",
        ("transfer_us=50000",),
    )
    stage = Stage.EARLY
    may = frozenset({"early_us"})

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Deliver it at the earliest when the last bytes set out."""
        sent_us, now_us = fate.event.sent_us, fate.now_us
        fate.early_us.append(
            now_us if rule.early_us is None else max(now_us, sent_us - rule.early_us)
        )

    def told(self, event: EventWords) -> str | None:
        """When its bytes landed."""
        return f"{event.name} came at {event.came}, before its bytes, which landed at {event.sent}"

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """By how much at most."""
        if rule.early_us is None:
            return "delivered before their bytes have landed, when the last of them set out"
        return f"delivered before their bytes have landed, by up to {words.time(rule.early_us)}"

    def directions(self, deployment: Deployment) -> tuple[Direction, ...]:
        """Acknowledgements: a decode instance that is busy rarely polls while a transfer lasts."""
        return ("prefill",)

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """Often: it mostly changes nothing, because the poll comes later anyway."""
        return dataclasses.replace(rule, probability=dice.often())

    def simplify(self, tries: Shrinking) -> None:
        """Less early."""
        tries.shorter("early_us", least_us=1)
