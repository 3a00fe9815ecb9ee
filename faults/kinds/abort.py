"""`abort`: the client of a request goes away while the request is in a state."""

from __future__ import annotations

from dataclasses import replace

from faults.draw import Dice
from faults.events import RequestState
from faults.kinds import base
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


class Abort(base.AimedKind):
    """The client goes away at a chosen moment."""

    name = "abort"
    meaning = "the client goes away while its request is in the state `when`"
    example = base.Example(
        """\
[[rule]]
fault = "abort"
when = "moving"
delay_us = 1_000             # after it has come into that state
probability = 0.1
"""
    )
    effect = "the client goes away"
    told = "the client of {name} went away at {came}"

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """A share of all clients, and the state."""
        probability, when = dice.abort_rate(), dice.choice(_LASTING_STATES)
        return replace(rule, direction="decode", probability=probability, when=when)
