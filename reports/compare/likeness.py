"""Whether two recordings can be compared: what they were made of, and where that differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.evidence import Evidence
from reports.words import NOTHING, counted, number
from traces.text import shortened

#: Characters of a value that are shown.
_VALUE_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in both recordings."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """What two recordings have in common and where they differ.

    Attributes:
        same_trace: both replayed the same requests.
        same_plan: both had the same fault rules.
        differences: everything that differs, the trace and the plan first.
        same: how many things were compared and are equal.
        warnings: sentences on why numbers may not be comparable.
    """

    same_trace: bool
    same_plan: bool
    differences: tuple[Difference, ...]
    same: int
    warnings: tuple[str, ...]


def make_likeness(before: Evidence, after: Evidence) -> Likeness:
    """Compare what two recordings were made of."""
    one, two = _made_of(before.run), _made_of(after.run)
    names = [*one, *(name for name in two if name not in one)]
    differing = [name for name in names if one.get(name) != two.get(name)]
    same_trace = before.run["trace"]["sha256"] == after.run["trace"]["sha256"]
    same_plan = before.run["plan"]["rules"] == after.run["plan"]["rules"]
    warnings = []
    if not same_trace:
        warnings.append(
            "They replayed different traces: gaps are matched by pool and kind alone, and requests "
            "not at all."
        )
    if not same_plan:
        warnings.append("They had different fault plans: a gap may be gone because its fault is.")
    for name in ("seed", "kvreplay version"):
        if name in differing:
            warnings.append(f"They differ in the {name}, which alone can move a gap.")
    return Likeness(
        same_trace,
        same_plan,
        tuple(Difference(name, _text(one.get(name)), _text(two.get(name))) for name in differing),
        len(names) - len(differing),
        tuple(warnings),
    )


def _made_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides what a replay comes to, by name."""
    options = {name.replace("_", " "): value for name, value in run["options"].items()}
    return {
        "trace SHA-256": run["trace"]["sha256"],
        "trace requests": run["trace"]["requests"],
        "fault rules": run["plan"]["rules"],
        **options,
        "kvreplay version": run["kvreplay"],
        **{
            f"profile: {name}": value
            for name, value in run["profile"].items()
            if name != "description"
        },
    }


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        text = f"{counted(len(value), 'rule')}: " + "; ".join(map(_rule, value))
    elif isinstance(value, list):
        text = ", ".join(map(str, value)) or "none"
    else:
        text = str(value)
    return shortened(text, _VALUE_CHARACTERS_MAX, lines=True)


def _rule(rule: Mapping[str, Any]) -> str:
    """A fault rule as its name and what of it is set."""
    told = {name: value for name, value in rule.items() if name != "name" and value}
    return f"{rule.get('name', '')} {json.dumps(told, ensure_ascii=False)}"
