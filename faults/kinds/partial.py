"""`partial`: only some events of a transfer are delivered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from faults.chance import Chance
from faults.events import CompletionEvent, Direction
from faults.kinds.base import (
    Deployment,
    EventWords,
    Example,
    Fate,
    FaultKind,
    Shrinking,
    Stage,
    Wording,
)
from faults.kinds.drop import LOST_TOO_LATE, Drop
from faults.rule import FaultRule


class Partial(FaultKind):
    """Of all events of one transfer only those of some TP ranks are delivered."""

    name = "partial"
    meaning = "of all events of one transfer only those of `keep` TP ranks are delivered"
    example = Example(
        """\
[[rule]]
fault = "partial"
keep = 1                     # of as many completions as a transfer has
probability = 0.02
""",
        # Several TP ranks a decode DP rank, so that a transfer has several completions.
        ("decode_dp=1",),
    )
    stage = Stage.LOST
    may = frozenset({"keep"})
    is_per_transfer = True
    is_random = True

    def condition(self, rule: FaultRule) -> Callable[[CompletionEvent], bool] | None:
        """A transfer of no more events than are kept stays whole."""
        keep = rule.keep
        return lambda event: event.parts > keep

    def spares(self, rule: FaultRule, event: CompletionEvent, chance: Chance) -> bool:
        """Each transfer draws which of its events are kept."""

        def lot(part: int) -> tuple[float, int]:
            return chance.number(f"kept\x1f{part}"), part

        return event.part in sorted(range(event.parts), key=lot)[: rule.keep]

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Lose an event that is not kept."""
        fate.lost_by.append(rule)

    def told(self, event: EventWords) -> str | None:
        """What is missing beside a delivered event."""
        return f"{event.name} came at {event.came}, without those of other ranks"

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """What it does."""
        return f"lost but for those of {words.counted(rule.keep, 'TP rank')} of each transfer"

    def why_none_hit(self, rule: FaultRule, words: Wording) -> str | None:
        """All events were among those that it keeps."""
        return f"none of them was beyond the {words.number(rule.keep)} that it keeps"

    def why_none_landed(self, rule: FaultRule) -> str:
        """Only an event that came early cannot be lost any more."""
        return LOST_TOO_LATE

    def directions(self, deployment: Deployment) -> tuple[Direction, ...]:
        """Those in which a transfer has several events."""
        parties = deployment.parties()
        found: list[Direction] = []
        if len(parties.completions) > 1:
            found.append("decode")
        if len(parties.real_senders) > 1:
            found.append("prefill")
        return tuple(found)

    def simplify(self, tries: Shrinking) -> None:
        """Keep fewer events."""
        any(tries.change(keep=keep) for keep in range(1, tries.rule.keep))

    def as_drawn(self, rule: FaultRule, chance: Chance) -> FaultRule:
        """The event was lost."""
        return dataclasses.replace(rule, fault=Drop.name)
