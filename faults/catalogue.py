"""The built-in plans: one for every field failure mode that a fault can bring about.

    faults/plans/NAME.toml --read when asked for--> BuiltinPlan --> `--plan builtin:NAME`
                                                                --> `kvreplay faults NAME`

Each is an ordinary plan file, which also says what it is about, so a copy of it is a plan too.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from faults.plan import PlanFile, load_plan, plan_of, read_plan_file
from faults.rule import FaultPlan, PlanError
from faults.toml.errors import nearest

#: What stands before the name of a built-in plan where a plan is asked for.
BUILTIN_PREFIX = "builtin:"

_SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class BuiltinPlan:
    """One built-in plan: its file, what the file says, and the rules."""

    name: str
    text: str
    facts: PlanFile
    plan: FaultPlan


def builtin_names() -> list[str]:
    """The names of all built-in plans, in alphabetical order."""
    names = (entry.name for entry in _folder().iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def builtin_plan(name: str) -> BuiltinPlan:
    """The built-in plan of that name.

    Raises:
        PlanError: there is none.
    """
    names = builtin_names()
    if name not in names:
        raise PlanError(
            f"{BUILTIN_PREFIX}{name}: no built-in plan of that name; {nearest(name, names)} "
            "(`kvreplay faults` lists them)"
        )
    text = (_folder() / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    source = BUILTIN_PREFIX + name
    facts = read_plan_file(text, source)
    return BuiltinPlan(name, text, facts, plan_of(facts, source))


def builtin_plans() -> list[BuiltinPlan]:
    """All built-in plans, in alphabetical order."""
    return [builtin_plan(name) for name in builtin_names()]


def _folder() -> Traversable:
    return files("faults") / "plans"


def open_plan(reference: str) -> FaultPlan:
    """The plan of a file, or the built-in one that is named; `./builtin:x` is a file.

    Raises:
        PlanError: there is no such file or built-in plan, or the file is no plan.
    """
    if reference.startswith(BUILTIN_PREFIX):
        return builtin_plan(reference.removeprefix(BUILTIN_PREFIX)).plan
    return load_plan(Path(reference))
