"""`abort`: the client of a request goes away while the request is in a state."""

from __future__ import annotations

import dataclasses

from faults.events import RequestState
from faults.kinds.base import AimedKind, Deployment, Dice, EventWords, Example
from faults.rule import FaultRule

#: States that a request stays in for a while on every engine, so that an abort can hit it there.
_LASTING_STATES: tuple[RequestState, ...] = (
    "prealloc",
    "transfer",
    "moving",
    "landed",
    "running",
    "prefilling",
    "in-flight",
)


class Abort(AimedKind):
    """The client goes away at a chosen moment."""

    name = "abort"
    meaning = "the client goes away while its request is in the state `when`"
    example = Example(
        """\
[[rule]]
fault = "abort"
when = "moving"
delay_us = 1_000             # after it has come into that state
probability = 0.1
"""
    )
    effect = "the client goes away"

    def told(self, event: EventWords) -> str | None:
        """When the client went."""
        return f"the client of {event.name} went away at {event.came}"

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """A share of all clients, and the state."""
        return dataclasses.replace(
            rule,
            direction="decode",
            probability=dice.abort_rate(),
            when=dice.choice(_LASTING_STATES),
        )
