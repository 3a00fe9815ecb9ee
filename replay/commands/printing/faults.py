"""What `kvreplay faults` prints, for people and as JSON."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import click

from faults.catalogue import (
    BUILTIN_PREFIX,
    BuiltinPlan,
    builtin_names,
    builtin_plan,
    builtin_plans,
)
from faults.chance import DURATION_FORMS
from faults.events import STATE_MEANINGS
from faults.kinds.base import Example, FaultKind
from faults.kinds.registry import KINDS, combination, trigger_meanings
from faults.rule import CONDITION_MEANINGS, PlanError
from faults.toml.errors import nearest
from replay.profiles.defects import all_defects

_WIDTH = 100
_INDENT = 20
#: Schema of the JSON document.
_SCHEMA = "kvreplay.faults/1"
#: Names of plans are longer than those of faults.
_PLAN_INDENT = 36


def everything() -> Iterator[str]:
    """The catalogue, section by section."""
    yield _title("Faults: what can happen to a completion event, or to a request")
    for kind in KINDS.values():
        yield from _entry(kind.name, kind.meaning, bold=True)
        yield from _block(kind.example)
    yield _title("Triggers: which events a rule hits (all that are given must hold)")
    yield from _entries(trigger_meanings().items())
    yield _title("Times: delay_us and copy_delay_us, in microseconds")
    yield from _entries(DURATION_FORMS.items())
    yield _title("Conditions: until = ...")
    yield from _entries(CONDITION_MEANINGS.items())
    yield _title("States: when = ... (aborts, timeouts) and states = [...] (events)")
    yield from _entries(STATE_MEANINGS.items())
    yield _title("Several rules on one event: the order in which they act, wherever they stand")
    yield from _entries(combination())
    yield _title("Built-in plans: kvreplay run TRACE --profile P --plan builtin:NAME")
    for plan in builtin_plans():
        yield from _entry(plan.name, plan.facts.comment, indent=_PLAN_INDENT, bold=True)
    yield ""
    yield "`kvreplay faults NAME` shows everything about one fault or plan."


def one(name: str) -> Iterator[str]:
    """One fault or built-in plan, whole.

    Raises:
        PlanError: there is neither of that name.
    """
    found = find(name)
    return _plan(found) if isinstance(found, BuiltinPlan) else _fault(found)


def _fault(kind: FaultKind) -> Iterator[str]:
    yield from _entry(kind.name, kind.meaning, bold=True)
    yield _title("Keys")
    none = {"(none)": "only triggers"}
    yield from _entries((kind.key_meanings() or none).items())
    yield _title("Triggers")
    yield from _entries(trigger_meanings(kind).items())
    yield _title("Example")
    yield from _block(kind.example)
    using = [
        plan.name
        for plan in builtin_plans()
        if any(rule.fault == kind.name for rule in plan.plan.rules)
    ]
    yield _title("Built-in plans with it")
    yield from _wrapped(", ".join(using) or "(none)", "  ")


def _plan(plan: BuiltinPlan) -> Iterator[str]:
    facts = plan.facts
    yield click.style(plan.name, bold=True)
    yield from _wrapped(facts.comment, "  ")
    yield ""
    if facts.mode:
        yield f"  Field failure mode  {facts.mode}"
    for number, report in enumerate(facts.reports):
        yield f"  {'Reported in' if number == 0 else '':20}{report}"
    for number, need in enumerate(facts.needs):
        yield f"  {'Needs' if number == 0 else '':20}--set {need}"
    yield f"  {'Shown by':20}{facts.shows}: {facts.verdict}"
    yield _title("Try it")
    yield f"  kvreplay run TRACE {shlex.join(command_of(plan))}"
    yield _title("The plan, to copy")
    yield from plan.text.splitlines()


def _title(text: str) -> str:
    return "\n" + click.style(text, bold=True, underline=True)


def _entries(meanings: Iterable[tuple[str, str]]) -> Iterator[str]:
    for word, meaning in meanings:
        yield from _entry(word, meaning)


def _entry(word: str, meaning: str, indent: int = _INDENT, bold: bool = False) -> Iterator[str]:
    """A word and its meaning beside it, or below where the word is too long."""
    lines = list(_wrapped(meaning, " " * indent))
    shown = click.style(word, bold=True) if bold else word
    if len(word) <= indent - 4 and lines:
        yield f"  {shown}{lines.pop(0)[len(word) + 2 :]}"
    else:
        yield f"  {shown}"
    yield from lines


def _wrapped(text: str, indent: str) -> Iterator[str]:
    width = min(_WIDTH, max(40, shutil.get_terminal_size().columns))
    yield from textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _block(example: Example) -> Iterator[str]:
    for line in example.text.rstrip("\n").splitlines():
        yield click.style(f"      {line}".rstrip(), dim=True)
    if example.needs:
        needs = " ".join(f"--set {need}" for need in example.needs)
        yield click.style(f"      # with {needs}", dim=True)
    yield ""


def find(name: str) -> FaultKind | BuiltinPlan:
    """The fault or the built-in plan of that name, which may be given as `builtin:NAME` too.

    Raises:
        PlanError: there is neither.
    """
    if name.startswith(BUILTIN_PREFIX):
        return builtin_plan(name.removeprefix(BUILTIN_PREFIX))
    if name in KINDS:
        return KINDS[name]
    known = [*KINDS, *builtin_names()]
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


# As JSON.


def everything_as_json() -> dict[str, Any]:
    """The whole vocabulary and every built-in plan."""
    return {
        "schema": _SCHEMA,
        "faults": {name: _fault_document(kind) for name, kind in KINDS.items()},
        "triggers": trigger_meanings(),
        "durations": DURATION_FORMS,
        "conditions": CONDITION_MEANINGS,
        "states": STATE_MEANINGS,
        "combination": [{"faults": kinds, "effect": effect} for kinds, effect in combination()],
        "plans": {plan.name: _plan_document(plan) for plan in builtin_plans()},
    }


def one_as_json(name: str) -> dict[str, Any]:
    """One fault or built-in plan.

    Raises:
        PlanError: there is neither of that name.
    """
    found = find(name)
    if isinstance(found, BuiltinPlan):
        return {"schema": _SCHEMA, "plans": {found.name: _plan_document(found)}}
    return {"schema": _SCHEMA, "faults": {found.name: _fault_document(found)}}


def _plan_document(plan: BuiltinPlan) -> dict[str, Any]:
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


def _fault_document(kind: FaultKind) -> dict[str, Any]:
    return {
        "meaning": kind.meaning,
        "keys": kind.key_meanings(),
        "triggers": list(trigger_meanings(kind)),
        "example": kind.example.text,
        "example_needs": list(kind.example.needs),
    }
