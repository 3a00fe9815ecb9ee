"""`timeout`: the engine's own timeout expires while a request is in a state."""

from __future__ import annotations

from dataclasses import replace

from faults.draw import Dice
from faults.events import Direction, RequestState
from faults.kinds import base
from faults.rule import FaultRule

#: States in which some engine has a timeout.
TIMEOUT_STATES: tuple[RequestState, ...] = (
    "bootstrap",
    "transfer",
    "landed",
    "deferred",
    "in-flight",
)


class Timeout(base.AimedKind):
    """A timeout that the engine has expires at a chosen moment."""

    name = "timeout"
    meaning = "the engine's own timeout expires while the request is in the state `when`"
    example = base.Example(
        """\
[[rule]]
fault = "drop"
probability = 0.05

[[rule]]
fault = "timeout"
when = "landed"              # a completion that was not lost is consumed long before
delay_us = 500_000
"""
    )
    only = (base.Only("when", TIMEOUT_STATES, 'no engine has a timeout in "{}"'),)
    effect = "the engine's own timeout expires"
    told = "the timeout of {name} expired at {came}"

    def directions(self, deployment: base.Deployment) -> tuple[Direction, ...]:
        """Any, where the engine has a timeout at all."""
        return base.BOTH_DIRECTIONS if deployment.timeouts else ()

    def drawn(self, rule: FaultRule, dice: Dice, deployment: base.Deployment) -> FaultRule:
        """A state in which this engine has a timeout."""
        return replace(rule, direction="decode", when=dice.choice(deployment.timeouts))
