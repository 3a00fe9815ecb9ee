"""What `--plan` may be given: a file, or `builtin:NAME`."""

from __future__ import annotations

from pathlib import Path

from faults.catalogue import BUILTIN_PREFIX, builtin_plan
from faults.kinds import FaultPlan
from faults.plan import load_plan


def open_plan(reference: str) -> FaultPlan:
    """The plan of a file, or the built-in one that is named; `./builtin:x` is a file.

    Raises:
        PlanError: there is no such file or built-in plan, or the file is no plan.
    """
    if reference.startswith(BUILTIN_PREFIX):
        return builtin_plan(reference.removeprefix(BUILTIN_PREFIX)).plan
    return load_plan(Path(reference))
