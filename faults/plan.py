"""Fault plans as people write them: TOML files and the command line's shortcuts.

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

import difflib
import json
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faults.errors import PlanError
from faults.kinds import Direction, FaultKind, FaultPlan, FaultRule

_Rank = Annotated[int, Field(ge=0)]


class RuleEntry(BaseModel):
    """One `[[rule]]` table of a plan file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(None, min_length=1, description="unique; seeds the rule's choices")
    fault: FaultKind
    direction: Direction = "decode"
    probability: float = Field(1.0, ge=0.0, le=1.0)
    occurrences: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, min_length=1, description="hit only the n-th matching events, from 1"
    )
    request_ids: list[str] | None = Field(None, min_length=1)
    dp_ranks: list[_Rank] | None = Field(None, min_length=1)
    prefill_tp_ranks: list[_Rank] | None = Field(None, min_length=1)
    decode_tp_ranks: list[_Rank] | None = Field(None, min_length=1)
    after_us: int | None = Field(None, ge=0, description="sent at or after this virtual time")
    before_us: int | None = Field(None, ge=0, description="sent before this virtual time")
    delay_us: int | None = Field(None, ge=1, description="only with, and needed by, delay")
    copies: int | None = Field(None, ge=1, le=1000, description="only with duplicate")
    copy_delay_us: int | None = Field(None, ge=0, description="only with duplicate")

    def misplaced(self) -> str | None:
        """What is wrong between keys, or None: `delay_us` without delay, and so on."""
        if self.fault == "delay" and self.delay_us is None:
            return 'delay_us: fault = "delay" needs it'
        if self.fault != "delay" and self.delay_us is not None:
            return f'delay_us: only fault = "delay" takes it, not "{self.fault}"'
        for key in ("copies", "copy_delay_us"):
            if self.fault != "duplicate" and getattr(self, key) is not None:
                return f'{key}: only fault = "duplicate" takes it, not "{self.fault}"'
        start_us, end_us = self.after_us or 0, self.before_us
        if end_us is not None and start_us >= end_us:
            return f"before_us: {end_us} is not later than after_us {start_us}"
        return None

    def to_rule(self) -> FaultRule:
        """The rule itself; an unnamed one is named after its content, never after its place."""
        given = self.model_dump(exclude_none=True, exclude={"name"}, exclude_defaults=True)
        for key in (
            "occurrences",
            "request_ids",
            "dp_ranks",
            "prefill_tp_ranks",
            "decode_tp_ranks",
        ):
            if key in given:
                given[key] = frozenset(given[key])
        return FaultRule(name=self.name or self._name_of_content(), **given)

    def _name_of_content(self) -> str:
        content = self.model_dump(exclude_none=True, exclude={"name"}, exclude_defaults=True)
        rest = " ".join(f"{key}={value}" for key, value in content.items() if key != "fault")
        return f"{self.fault} {rest}".strip()


class PlanFile(BaseModel):
    """A plan file: a comment and any number of rules."""

    model_config = ConfigDict(extra="forbid", strict=True)

    comment: str = ""
    rule: list[RuleEntry] = Field(default_factory=list)


def load_plan(path: Path) -> FaultPlan:
    """Read a TOML plan file.

    Raises:
        PlanError: the file is missing, is not TOML, or has a key or value that no rule takes.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise PlanError(f"{path}: cannot read the plan: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise PlanError(f"{path}: not a text file; a plan is a TOML file") from None
    except tomllib.TOMLDecodeError as problem:
        raise PlanError(f"{path}: not valid TOML: {problem}") from None
    try:
        parsed = PlanFile.model_validate(document)
    except ValidationError as problem:
        raise PlanError(f"{path}: {_explain(problem)}") from None
    return plan_of(parsed, str(path))


def plan_of(parsed: PlanFile, source: str) -> FaultPlan:
    """The plan that a plan file, or the same as a table of another file, stands for.

    Raises:
        PlanError: keys of a rule do not go together, or two rules have one name.
    """
    for number, entry in enumerate(parsed.rule, start=1):
        if (complaint := entry.misplaced()) is not None:
            raise PlanError(f"{source}: rule {number}, {complaint}")
    rules = tuple(entry.to_rule() for entry in parsed.rule)
    return FaultPlan(_uniquely_named(rules, source), parsed.comment, source)


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
        if not 0.001 <= delay_ms <= 1e12:
            raise PlanError(f"--delay: {delay_ms:g} ms is not a delay; give at least 0.001")
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
    return FaultPlan(_uniquely_named(rules, source or "the plan"), comment, source)


def plan_text(plan: FaultPlan) -> str:
    """A plan as a TOML file that `load_plan` reads back."""
    lines = [f"comment = {_toml(plan.comment)}"] if plan.comment else []
    defaults = FaultRule("", "drop")
    for rule in plan.rules:
        lines += ["", "[[rule]]", f"name = {_toml(rule.name)}", f"fault = {_toml(rule.fault)}"]
        for key in RuleEntry.model_fields:
            value = getattr(rule, key)
            if key in ("name", "fault") or value == getattr(defaults, key):
                continue
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def _toml(value: object) -> str:
    """A string, number or set as TOML; JSON's escapes are TOML's, but for the delete character."""
    if isinstance(value, frozenset):
        return "[" + ", ".join(_toml(each) for each in sorted(value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _probability(option: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise PlanError(f"{option}: probability {value:g} is not between 0 and 1")
    return value


def _uniquely_named(rules: tuple[FaultRule, ...], where: str) -> tuple[FaultRule, ...]:
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise PlanError(
                f"{where}: two rules are called {rule.name!r}; names seed a rule's choices, so "
                "give each rule a name of its own"
            )
        seen.add(rule.name)
    return rules


def _explain(problem: ValidationError) -> str:
    """The first complaint as one sentence that names the rule, the key and the nearest valid one."""
    first = problem.errors(include_url=False)[0]
    location = list(first["loc"])
    where = ""
    if location[:1] == ["rule"] and len(location) > 1 and isinstance(location[1], int):
        where = f"rule {location[1] + 1}, "
        location = location[2:]
    key = ".".join(str(part) for part in location) or "the file"
    if first["type"] == "extra_forbidden":
        valid = RuleEntry.model_fields if where else PlanFile.model_fields
        near = difflib.get_close_matches(str(key), valid, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(valid)}"
        return f"{where}{key}: no such key; {hint}"
    if first["type"] == "missing":
        return f"{where}{key}: missing, and a rule needs it"
    return f"{where}{key}: {first['msg'].lower()}, got {first['input']!r}"
