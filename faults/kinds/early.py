"""`early`: the event is delivered before its bytes have landed."""

from __future__ import annotations

from dataclasses import replace

from faults.chance import Chance
from faults.draw import Dice
from faults.events import Direction
from faults.kinds import base
from faults.rule import FaultRule


class Early(base.FaultKind):
    """The event overtakes the bytes that it stands for."""

    name = "early"
    meaning = "the event is delivered up to `early_us` before its bytes have landed"
    example = base.Example(
        """\
[[rule]]
fault = "early"
early_us = 40_000
probability = 0.05
""",
        ("transfer_us=50000",),
    )
    stage = base.Stage.EARLY
    may = frozenset({"early_us"})
    told = "{name} came at {came}, before its bytes, which landed at {sent}"

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Deliver it at the earliest when the last bytes set out."""
        early_us, now_us = rule.early_us, fate.now_us
        fate.early_us.append(
            now_us if early_us is None else max(now_us, fate.event.sent_us - early_us)
        )

    def in_words(self, rule: FaultRule) -> str:
        """By how much at most."""
        when = (
            ", when the last of them set out" if rule.early_us is None else ", by up to {early_us}"
        )
        return f"delivered before their bytes have landed{when}"

    def directions(self, deployment: base.Deployment) -> tuple[Direction, ...]:
        """Acknowledgements: a decode instance that is busy rarely polls while a transfer lasts."""
        return ("prefill",)

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """Often: it mostly changes nothing, because the poll comes later anyway."""
        return replace(rule, probability=dice.often())

    def simplify(self, tries: base.Shrinking) -> None:
        """Less early."""
        tries.shorter("early_us", least_us=1)
