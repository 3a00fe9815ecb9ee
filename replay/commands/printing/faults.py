"""What `kvreplay faults` prints for people."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator

import click

from faults.catalogue import (
    BUILTIN_PREFIX,
    BuiltinPlan,
    builtin_names,
    builtin_plan,
    builtin_plans,
)
from faults.errors import PlanError
from faults.events import STATE_MEANINGS
from faults.examples import FAULT_EXAMPLES
from faults.rule import CONDITION_MEANINGS, FAULT_MEANINGS, FaultKind
from faults.toml_errors import nearest
from faults.vocabulary import DURATION_FORMS, ORDER_OF_COMBINATION, keys_of, triggers
from replay.profiles.defects import all_defects

_WIDTH = 100
_INDENT = 20
#: Names of plans are longer than those of faults.
_PLAN_INDENT = 36


def everything() -> Iterator[str]:
    """The catalogue, section by section."""
    yield _title("Faults: what becomes of a completion event, or of a request")
    for kind, meaning in FAULT_MEANINGS.items():
        yield from _entry(kind, meaning, bold=True)
        yield from _block(FAULT_EXAMPLES[kind].text, needs=FAULT_EXAMPLES[kind].needs)
    yield _title("Triggers: which events a rule hits (all that are given must hold)")
    yield from _entries(triggers().items())
    yield _title("Times: delay_us and copy_delay_us, in microseconds")
    yield from _entries(DURATION_FORMS.items())
    yield _title("Conditions: until = ...")
    yield from _entries(CONDITION_MEANINGS.items())
    yield _title("States: when = ... (aborts, timeouts) and states = [...] (events)")
    yield from _entries(STATE_MEANINGS.items())
    yield _title("Rules that hit one event act on it in this order, wherever they stand")
    yield from _entries(ORDER_OF_COMBINATION)
    yield _title("Built-in plans: kvreplay run TRACE --profile P --plan builtin:NAME")
    for plan in builtin_plans():
        yield from _entry(plan.name, plan.facts.comment, indent=_PLAN_INDENT, bold=True)
    yield ""
    yield "kvreplay faults NAME shows a fault or a plan whole."


def one(name: str) -> Iterator[str]:
    """One fault or built-in plan, whole.

    Raises:
        PlanError: there is neither of that name.
    """
    found = find(name)
    return _plan(found) if isinstance(found, BuiltinPlan) else _fault(found)


def _fault(kind: FaultKind) -> Iterator[str]:
    yield from _entry(kind, FAULT_MEANINGS[kind], bold=True)
    yield _title("Its keys")
    none = {"(none)": "which events it hits is all there is to say"}
    yield from _entries((keys_of(kind) or none).items())
    yield _title("Triggers")
    yield from _entries(triggers(kind).items())
    yield _title("Example")
    yield from _block(FAULT_EXAMPLES[kind].text, needs=FAULT_EXAMPLES[kind].needs)
    using = [
        plan.name for plan in builtin_plans() if any(rule.fault == kind for rule in plan.plan.rules)
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


def _block(text: str, needs: tuple[str, ...] = ()) -> Iterator[str]:
    for line in text.rstrip("\n").splitlines():
        yield click.style(f"      {line}".rstrip(), dim=True)
    if needs:
        yield click.style(f"      # with {' '.join(f'--set {need}' for need in needs)}", dim=True)
    yield ""


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
