"""`timeout`: the engine's own timeout expires while a request is in a state."""

from __future__ import annotations

import dataclasses

from faults.events import Direction, RequestState
from faults.kinds.base import (
    BOTH_DIRECTIONS,
    AimedKind,
    Deployment,
    Dice,
    EventWords,
    Example,
    Only,
)
from faults.rule import FaultRule

#: States in which some engine has a timeout.
TIMEOUT_STATES: tuple[RequestState, ...] = (
    "bootstrap",
    "transfer",
    "landed",
    "deferred",
    "in-flight",
)


class Timeout(AimedKind):
    """A timeout that the engine has expires at a chosen moment."""

    name = "timeout"
    meaning = "the engine's own timeout expires while the request is in the state `when`"
    example = Example(
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
    only = (Only("when", TIMEOUT_STATES, 'no engine has a timeout in "{}"'),)
    effect = "the engine's own timeout expires"

    def told(self, event: EventWords) -> str | None:
        """When the timeout expired."""
        return f"the timeout of {event.name} expired at {event.came}"

    def directions(self, deployment: Deployment) -> tuple[Direction, ...]:
        """Any, where the engine has a timeout at all."""
        return BOTH_DIRECTIONS if _states_with_timeouts(deployment) else ()

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """A state in which this engine has a timeout."""
        when = dice.choice(_states_with_timeouts(deployment))
        return dataclasses.replace(rule, direction="decode", when=when)


def _states_with_timeouts(deployment: Deployment) -> tuple[RequestState, ...]:
    """States in which this engine has a timeout, and that every request passes."""
    timeouts: tuple[tuple[RequestState, int | None], ...] = (
        ("bootstrap", deployment.bootstrap_timeout_us),
        ("transfer", deployment.waiting_timeout_us),
        ("landed", deployment.completion_timeout_us),
        ("in-flight", deployment.acknowledgement_timeout_us),
    )
    return tuple(state for state, timeout_us in timeouts if timeout_us is not None)
