"""`misroute`: the event is delivered elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from faults.chance import Chance
from faults.events import CompletionEvent
from faults.kinds.base import (
    Deployment,
    Dice,
    EventWords,
    Example,
    Fate,
    FaultKind,
    Receivers,
    Stage,
    Wording,
)
from faults.rule import Detour, FaultRule

_ELSEWHERE: dict[Detour, str] = {
    "kind": "as an event of the other kind",
    "rank": "to the next DP rank",
    "room": "for the next room of their receiver",
}


class Misroute(FaultKind):
    """The event goes to another queue, rank or room than it was sent to."""

    name = "misroute"
    meaning = (
        "the event is delivered elsewhere: as the other kind, to another rank, for another room"
    )
    example = Example(
        """\
[[rule]]
fault = "misroute"
to = "rank"                  # the next DP rank; or "kind", or "room"
probability = 0.02
"""
    )
    stage = Stage.ELSEWHERE
    may = frozenset({"to"})
    shows = frozenset({"consumed"})

    def condition(self, rule: FaultRule) -> Callable[[CompletionEvent], bool] | None:
        """There must be another rank or room to go to."""
        if rule.to == "rank":
            return lambda event: event.dp_ranks > 1
        if rule.to == "room":
            return lambda event: event.next_room != event.bootstrap_room
        return None

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Send every delivery elsewhere, unless an earlier rule of the plan has done so."""
        fate.detour = fate.detour or rule.to

    def told(self, event: EventWords) -> str | None:
        """That it went elsewhere."""
        return f"{event.name} went astray at {event.came}"

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """Where it goes."""
        return f"delivered {_ELSEWHERE[rule.to]}"

    def why_none_met(self, rule: FaultRule, receivers: Receivers) -> str | None:
        """There is no other rank."""
        if rule.to == "rank" and receivers.dp_ranks == 1:
            return f"{receivers.side} has one DP rank, so there is no other"
        return None

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """One of the places that there are."""
        is_decode = rule.direction == "decode"
        ranks = deployment.decode_dp if is_decode else deployment.prefill_dp
        places: tuple[Detour, ...] = ("kind", "rank", "room") if ranks > 1 else ("kind", "room")
        return dataclasses.replace(rule, to=dice.choice(places))
