"""What `kvreplay faults` lists, as one JSON document."""

from __future__ import annotations

from typing import Any

from faults.catalogue import BuiltinPlan, builtin_plans
from faults.events import STATE_MEANINGS
from faults.examples import FAULT_EXAMPLES
from faults.rule import CONDITION_MEANINGS, FAULT_MEANINGS, FaultKind
from faults.vocabulary import DURATION_FORMS, ORDER_OF_COMBINATION, keys_of, triggers
from replay.commands.printing.faults import command_of, find

_SCHEMA = "kvreplay.faults/1"


def everything() -> dict[str, Any]:
    """The whole vocabulary and every built-in plan."""
    return {
        "schema": _SCHEMA,
        "faults": {kind: _fault(kind) for kind in FAULT_MEANINGS},
        "triggers": triggers(),
        "durations": DURATION_FORMS,
        "conditions": CONDITION_MEANINGS,
        "states": STATE_MEANINGS,
        "combination": [
            {"faults": kinds, "effect": effect} for kinds, effect in ORDER_OF_COMBINATION
        ],
        "plans": {plan.name: describe_plan(plan) for plan in builtin_plans()},
    }


def one(name: str) -> dict[str, Any]:
    """One fault or built-in plan.

    Raises:
        PlanError: there is neither of that name.
    """
    found = find(name)
    if isinstance(found, BuiltinPlan):
        return {"schema": _SCHEMA, "plans": {found.name: describe_plan(found)}}
    return {"schema": _SCHEMA, "faults": {found: _fault(found)}}


def describe_plan(plan: BuiltinPlan) -> dict[str, Any]:
    """What is known of a built-in plan, and its text."""
    facts = plan.facts
    return {
        "meaning": facts.comment,
        "mode": facts.mode or None,
        "reports": facts.reports,
        "needs": facts.needs,
        "shows": facts.shows,
        "verdict": facts.verdict,
        "command": ["kvreplay", "run", "TRACE", *command_of(plan)],
        "text": plan.text,
    }


def _fault(kind: FaultKind) -> dict[str, Any]:
    example = FAULT_EXAMPLES[kind]
    return {
        "meaning": FAULT_MEANINGS[kind],
        "keys": keys_of(kind),
        "triggers": list(triggers(kind)),
        "example": example.text,
        "example_needs": list(example.needs),
    }
