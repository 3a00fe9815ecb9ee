"""Faults and built-in plans by name, and the command that shows what a plan is about."""

from __future__ import annotations

from faults.catalogue import BUILTIN_PREFIX, BuiltinPlan, builtin_names, builtin_plan
from faults.errors import PlanError
from faults.kinds import FAULT_MEANINGS, FaultKind
from faults.toml_errors import nearest
from replay.defects import all_defects


def find(name: str) -> FaultKind | BuiltinPlan:
    """The fault or the built-in plan of that name, which may be given as `builtin:NAME` too.

    Raises:
        PlanError: there is neither.
    """
    if name.startswith(BUILTIN_PREFIX):
        return builtin_plan(name.removeprefix(BUILTIN_PREFIX))
    for kind in FAULT_MEANINGS:
        if kind == name:
            return kind
    known = [*FAULT_MEANINGS, *builtin_names()]
    if name not in known:
        hint = nearest(name, known)
        raise PlanError(f"faults {name}: no fault or built-in plan of that name; {hint}")
    return builtin_plan(name)


def command_of(plan: BuiltinPlan) -> list[str]:
    """The words of the command that shows what a built-in plan is about, without the trace."""
    is_defect = plan.facts.shows in all_defects()
    words = ["--profile", "hardened" if is_defect else plan.facts.shows]
    words += ["--defect", plan.facts.shows] if is_defect else []
    for setting in plan.facts.needs:
        words += ["--set", setting]
    words += ["--plan", BUILTIN_PREFIX + plan.name]
    return words + (["--expect", plan.facts.verdict] if plan.facts.verdict else [])
