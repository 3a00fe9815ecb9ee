"""`misroute`: the event is delivered elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from faults.chance import Chance
from faults.draw import Dice
from faults.events import CompletionEvent, Direction
from faults.kinds import base
from faults.rule import Detour, FaultRule

_ELSEWHERE: dict[Detour, str] = {
    "kind": "as an event of the other kind",
    "rank": "to the next DP rank",
    "room": "for the next room of their receiver",
}


class Misroute(base.FaultKind):
    """The event goes to another queue, rank or room than it was sent to."""

    name = "misroute"
    meaning = (
        "the event is delivered elsewhere: as the other kind, to another rank, for another room"
    )
    example = base.Example(
        """\
[[rule]]
fault = "misroute"
to = "rank"                  # the next DP rank; or "kind", or "room"
probability = 0.02
"""
    )
    stage = base.Stage.ELSEWHERE
    may = frozenset({"to"})
    shows = frozenset({"consumed"})
    told = "{name} went astray at {came}"

    def condition(self, rule: FaultRule) -> Callable[[CompletionEvent], bool] | None:
        """There must be another rank or room to go to."""
        if rule.to == "rank":
            return lambda event: event.dp_ranks > 1
        if rule.to == "room":
            return lambda event: event.next_room != event.bootstrap_room
        return None

    def shape(self, rule: FaultRule, fate: base.Fate, chance: Chance) -> None:
        """Send every delivery elsewhere, unless an earlier rule of the plan has done so."""
        fate.detour = fate.detour or rule.to

    def in_words(self, rule: FaultRule) -> str:
        """Where it goes."""
        return f"delivered {_ELSEWHERE[rule.to]}"

    def why_none_met(self, rule: FaultRule, side: Direction, dp_ranks: int) -> str | None:
        """There is no other rank."""
        is_alone = rule.to == "rank" and dp_ranks == 1
        return f"{side} has one DP rank, so there is no other" if is_alone else None

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """One of the places that there are."""
        has_others = deployment.dp_ranks[rule.direction] > 1
        places: tuple[Detour, ...] = ("kind", "rank", "room") if has_others else ("kind", "room")
        return replace(rule, to=dice.choice(places))
