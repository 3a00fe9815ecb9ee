"""A plan as the text of a TOML file, which reads back as the same plan."""

from __future__ import annotations

import dataclasses
import json

from faults.chance import Burst, LogNormal, Uniform
from faults.rule import FaultPlan, FaultRule
from traces.text import toml_string


def plan_text(plan: FaultPlan) -> str:
    """A plan as a TOML file that `faults.plan.load_plan` reads back."""
    lines = [f"comment = {toml_value(plan.comment)}"] if plan.comment else []
    for rule in plan.rules:
        lines += ["", "[[rule]]", *rule_lines(rule)]
    return "\n".join(lines).lstrip("\n") + "\n"


def rule_lines(rule: FaultRule) -> list[str]:
    """One rule as lines `key = value`, without what it leaves at its default."""
    lines = [f"name = {toml_value(rule.name)}", f"fault = {toml_value(rule.fault)}"]
    for field in dataclasses.fields(rule):
        value = getattr(rule, field.name)
        if field.name not in ("name", "fault") and value != field.default:
            lines.append(f"{field.name} = {toml_value(value)}")
    return lines


def toml_value(value: object) -> str:
    """A value as TOML; of numbers and booleans JSON has the same words."""
    if isinstance(value, frozenset):
        return "[" + ", ".join(toml_value(each) for each in sorted(value)) + "]"
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    if isinstance(value, Uniform):
        return f"{{ uniform = [{value.low_us}, {value.high_us}] }}"
    if isinstance(value, LogNormal):
        return f"{{ lognormal = {_table(value)} }}"
    if isinstance(value, Burst):
        return _table(value)
    return toml_string(value) if isinstance(value, str) else json.dumps(value)


def _table(value: LogNormal | Burst) -> str:
    pairs = (f"{name} = {toml_value(each)}" for name, each in dataclasses.asdict(value).items())
    return "{ " + ", ".join(pairs) + " }"
