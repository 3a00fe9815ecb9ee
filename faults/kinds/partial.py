"""`partial`: only some events of a transfer are delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from faults.chance import Chance
from faults.events import CompletionEvent, Direction
from faults.kinds import base
from faults.kinds.drop import Drop
from faults.rule import FaultRule


class Partial(base.FaultKind):
    """Of all events of one transfer only those of some TP ranks are delivered."""

    name = "partial"
    meaning = "of all events of one transfer only those of `keep` TP ranks are delivered"
    example = base.Example(
        """\
[[rule]]
fault = "partial"
keep = 1                     # of as many completions as a transfer has
probability = 0.02
""",
        # Several TP ranks a decode DP rank, so that a transfer has several completions.
        ("decode_dp=1",),
    )
    stage = base.Stage.LOST
    may = frozenset({"keep"})
    is_per_transfer = True
    is_random = True
    told = "{name} came at {came}, without those of other ranks"

    def condition(self, rule: FaultRule) -> Callable[[CompletionEvent], bool] | None:
        """A transfer of no more events than are kept stays whole."""
        keep = rule.keep
        return lambda event: event.parts > keep

    def spares(self, rule: FaultRule, event: CompletionEvent, chance: Chance) -> bool:
        """Each transfer draws which of its events are kept."""

        def lot(part: int) -> tuple[float, int]:
            return chance.number(f"kept\x1f{part}"), part

        return event.part in sorted(range(event.parts), key=lot)[: rule.keep]

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Lose an event that is not kept."""
        fate.lost_by.append(rule)

    def in_words(self, rule: FaultRule) -> str:
        """What it does."""
        ranks = "TP rank" if rule.keep == 1 else "TP ranks"
        return f"lost but for those of {{keep}} {ranks} of each transfer"

    def why_none_hit(self, rule: FaultRule) -> str | None:
        """All events were among those that it keeps."""
        return "none of them was beyond the {keep} that it keeps"

    def directions(self, deployment: base.Deployment) -> tuple[Direction, ...]:
        """Those in which a transfer has several events."""
        return tuple(side for side in base.BOTH_DIRECTIONS if deployment.events[side] > 1)

    def simplify(self, tries: base.Shrinking) -> None:
        """Keep fewer events."""
        any(tries.change(keep=keep) for keep in range(1, tries.rule.keep))

    def as_drawn(self, rule: FaultRule, chance: Chance) -> FaultRule:
        """The event was lost."""
        return replace(rule, fault=Drop.name)
