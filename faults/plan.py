"""Fault plans as people give them: TOML files, built-in plans, and the command line's shortcuts.

comment = "the completion of one request is lost, one in a hundred comes late"

[[rule]]
name = "lost"
fault = "drop"
request_ids = ["r-17"]

[[rule]]
name = "late"
fault = "delay"
probability = 0.01
delay_us = 500_000
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import ValidationError

from faults.chance import checked_probability
from faults.errors import PlanError
from faults.plan_file import PlanFile
from faults.rule import FaultPlan, FaultRule
from faults.toml_errors import explain
from faults.toml_lines import TomlPath, line_of
from faults.toml_reading import TomlError, parse_toml, toml_text


def load_plan(path: Path) -> FaultPlan:
    """Read a TOML plan file.

    Raises:
        PlanError: the file is missing, is not TOML, or has a key or value that no rule takes.
    """
    try:
        text = toml_text(path, "plan")
    except TomlError as problem:
        raise PlanError(problem.at(path)) from None
    return parse_plan(text, str(path))


def parse_plan(text: str, source: str) -> FaultPlan:
    """A plan from the text of a plan file; `source` is what messages call the file.

    Raises:
        PlanError: it is not TOML, or has a key or value that no rule takes.
    """
    return plan_of(read_plan_file(text, source), source)


def read_plan_file(text: str, source: str) -> PlanFile:
    """Everything that the text of a plan file says, checked.

    Raises:
        PlanError: it is not TOML, or has a key or value that no rule takes.
    """
    try:
        document = parse_toml(text)
    except TomlError as problem:
        raise PlanError(problem.at(source)) from None
    try:
        parsed = PlanFile.model_validate(document)
    except ValidationError as problem:
        line, complaint = explain(problem, text, document, PlanFile)
        raise PlanError(f"{source}{_on(line)}: {complaint}") from None
    if (wrong := complaint_of(parsed)) is not None:
        path, complaint = wrong
        raise PlanError(f"{source}{_on(line_of(text, path))}: {complaint}")
    return parsed


def complaint_of(plan: PlanFile) -> tuple[TomlPath, str] | None:
    """What is wrong between the keys of a plan's rules: where, and a sentence that names the key."""
    names: set[str] = set()
    for number, entry in enumerate(plan.rule):
        if (wrong := entry.complaint()) is not None:
            key, complaint = wrong
            return ("rule", number, key), f"rule[{number + 1}].{key}: {complaint}"
        name = entry.to_rule().name
        if name in names:
            return ("rule", number), _same_name(name)
        names.add(name)
    return None


def plan_of(plan: PlanFile, source: str) -> FaultPlan:
    """The plan that a plan file, or the same as a table of another file, stands for.

    Raises:
        PlanError: keys of a rule do not go together, or two rules have one name.
    """
    if (wrong := complaint_of(plan)) is not None:
        raise PlanError(f"{source}: {wrong[1]}")
    return FaultPlan(tuple(entry.to_rule() for entry in plan.rule), plan.comment, source)


def shortcut_plan(
    drop: float | None, delay: tuple[float, float] | None, duplicate: float | None
) -> FaultPlan:
    """The plan of `--drop P`, `--delay P:MS` (given as P and milliseconds) and `--duplicate P`.

    Raises:
        PlanError: a probability outside 0 to 1, or a delay that is not positive.
    """
    rules = []
    if drop is not None:
        rules.append(FaultRule("drop", "drop", probability=_probability("--drop", drop)))
    if delay is not None:
        probability, delay_ms = _probability("--delay", delay[0]), delay[1]
        if not 0.001 <= delay_ms <= 1e10:
            raise PlanError(
                f"--delay: {delay_ms:g} ms is not a delay; give at least 0.001 and at most 1e10"
            )
        rules.append(
            FaultRule("delay", "delay", probability=probability, delay_us=round(delay_ms * 1000))
        )
    if duplicate is not None:
        probability = _probability("--duplicate", duplicate)
        rules.append(FaultRule("duplicate", "duplicate", probability=probability))
    return FaultPlan(tuple(rules))


def combine(*plans: FaultPlan) -> FaultPlan:
    """All rules of several plans as one.

    Raises:
        PlanError: two rules have one name.
    """
    rules = tuple(rule for plan in plans for rule in plan.rules)
    comment = "; ".join(plan.comment for plan in plans if plan.comment)
    source = next((plan.source for plan in plans if plan.source), "")
    names = Counter(rule.name for rule in rules)
    if twice := [name for name, count in names.items() if count > 1]:
        raise PlanError(f"{source or 'the plan'}: {_same_name(twice[0])}")
    return FaultPlan(rules, comment, source)


def _probability(option: str, value: float) -> float:
    try:
        return checked_probability(value)
    except ValueError as problem:
        raise PlanError(f"{option}: {value:g}: {problem}") from None


def _same_name(name: str) -> str:
    return (
        f"two rules are called {name!r}; names seed a rule's choices, so give each rule a name of "
        "its own"
    )


def _on(line: int | None) -> str:
    return "" if line is None else f":{line}"
