"""Fault plans as people give them: TOML files, and the command line's shortcuts.

comment = "the completion of one request is lost, one in a hundred is late"

[[rule]]
name = "lost"
fault = "drop"
request_ids = ["r-17"]

[[rule]]
name = "late"
fault = "delay"
probability = 0.01
delay_us = 500_000

The keys of a rule, their types and limits are those of `faults.rule.FaultRule`. `RuleEntry` is the
same as TOML has it: sets are lists, distributions are tables, and a key that is left out is known to be.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from faults.chance import DELAY_US_MAX, Burst, Duration, LogNormal, Uniform, checked_probability
from faults.events import STATES_OF_RECEIVERS
from faults.kinds.base import KEYS_ABOUT_EVENTS, FaultKind
from faults.kinds.delay import Delay
from faults.kinds.drop import Drop
from faults.kinds.duplicate import Duplicate
from faults.kinds.registry import KIND_KEYS, KINDS
from faults.rule import COPIES_MAX, FIELDS, FaultPlan, FaultRule, PlanError, type_of
from faults.toml.errors import explain, nearest
from faults.toml.lines import TomlPath, line_of
from faults.toml.reading import TomlError, parse_toml, toml_text

_Time = Annotated[int, Field(ge=0, le=DELAY_US_MAX)]
_Delay = Annotated[int, Field(ge=1, le=DELAY_US_MAX)]
_Probability = Annotated[float, BeforeValidator(checked_probability)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LogNormalEntry(_Entry):
    """A log-normal distribution of times."""

    median_us: _Delay = Field(description="half of the times are shorter")
    sigma: float = Field(gt=0, le=10, description="standard deviation of the logarithm")
    max_us: _Delay = Field(DELAY_US_MAX, description="longer times are cut to this")


class DurationEntry(_Entry):
    """A time that is drawn for each event: exactly one of the two keys."""

    uniform: list[_Time] | None = Field(
        None, min_length=2, max_length=2, description="[least, most] microseconds"
    )
    lognormal: LogNormalEntry | None = None

    def complaint(self) -> str | None:
        """What is wrong between the keys, or None."""
        if (self.uniform is None) == (self.lognormal is None):
            return "give either uniform = [LEAST, MOST] or lognormal = { median_us, sigma }"
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            return f"uniform goes from {self.uniform[0]} down to {self.uniform[1]}"
        if self.lognormal is not None and self.lognormal.max_us < self.lognormal.median_us:
            return (
                f"max_us {self.lognormal.max_us} is below median_us {self.lognormal.median_us}, so "
                "that most times would be cut to it"
            )
        return None

    def to_duration(self) -> Duration:
        """The distribution itself."""
        if self.uniform is not None:
            return Uniform(self.uniform[0], self.uniform[1])
        assert self.lognormal is not None
        return LogNormal(self.lognormal.median_us, self.lognormal.sigma, self.lognormal.max_us)


class BurstEntry(_Entry):
    """Windows of time in which a rule acts."""

    length_us: _Delay = Field(description="how long a window is open")
    every_us: _Delay = Field(description="one window opens in each period of this length")
    probability: _Probability = Field(1.0, gt=0.0, le=1.0, description="that a period has a window")
    hits: Literal["rank", "all"] = Field(
        "rank", description="each rank has windows of its own, or all have the same"
    )


class _RuleEntry(_Entry):
    """What can be asked of a `[[rule]]` table; its keys are added from `FaultRule`."""

    if TYPE_CHECKING:
        fault: str

    def complaint(self) -> tuple[str, str] | None:
        """The key that does not go with the others and what is wrong with it, or None."""
        return next(self._complaints(), None)

    def to_rule(self) -> FaultRule:
        """The rule itself; an unnamed one is named after its content, never after its place."""
        given: dict[str, Any] = {
            key: _plain(key, value)
            for key in type(self).model_fields
            if (value := getattr(self, key)) is not None
        }
        return FaultRule(**{"name": self._name_of_content(), **given})

    def _complaints(self) -> Iterator[tuple[str, str]]:
        fault, kind = self.fault, KINDS[self.fault]
        given = {key for key in KIND_KEYS if getattr(self, key) is not None}
        for key in sorted(given - kind.keys):
            takers = [name for name, each in KINDS.items() if key in each.keys]
            yield key, f"only {_alternatives(takers)} takes it, not {fault}"
        for key in sorted(kind.must - given):
            yield key, f'missing, and fault = "{fault}" needs it'
        if kind.one_of and not given.intersection(kind.one_of):
            words = ", ".join(kind.one_of)
            yield kind.one_of[0], f'missing: fault = "{fault}" needs {words}, or both'
        for only in kind.only:
            if (word := getattr(self, only.key)) not in (None, *only.words):
                yield only.key, f"{only.complaint.format(word)}; give {_alternatives(only.words)}"
        for key in sorted(given):
            value = getattr(self, key)
            if isinstance(value, DurationEntry) and (wrong := value.complaint()) is not None:
                yield key, wrong
        rule = self.to_rule()
        if (mismatch := kind.complaint(rule)) is not None:
            yield mismatch
        yield from _complaints_of_conditions(rule)

    def _name_of_content(self) -> str:
        content = self.model_dump(exclude_none=True, exclude={"name"}, exclude_defaults=True)
        rest = " ".join(f"{key}={value}" for key, value in content.items() if key != "fault")
        return f"{self.fault} {rest}".strip()


def _complaints_of_conditions(rule: FaultRule) -> Iterator[tuple[str, str]]:
    start_us, end_us, burst = rule.after_us or 0, rule.before_us, rule.burst
    if end_us is not None and start_us >= end_us:
        yield "before_us", f"{end_us} is not later than after_us {start_us}"
    if burst is not None and burst.length_us > burst.every_us:
        yield (
            "burst",
            (f"a window of {burst.length_us} us does not fit into every_us {burst.every_us}"),
        )
    if rule.occurrences is None and rule.occurrences_per != "rule":
        yield "occurrences_per", "says what occurrences are counted over, and there are none"
    if KINDS[rule.fault].is_aimed:
        for key in KEYS_ABOUT_EVENTS:
            if getattr(rule, key) != FIELDS[key].default:
                yield key, f"{rule.fault} acts on a request, not on events; use when"
    known = STATES_OF_RECEIVERS[rule.direction]
    for state in sorted(rule.states or ()):
        if state not in known:
            yield (
                "states",
                f'no state "{state}" on the {rule.direction} side; {nearest(state, known)}',
            )


def _plain(key: str, value: object) -> object:
    """A value of a checked entry as the rule holds it."""
    if isinstance(value, DurationEntry):
        return value.to_duration()
    if isinstance(value, BurstEntry):
        return Burst(**value.model_dump())
    if isinstance(value, list):
        return tuple(value) if key == "copy_delay_us" else frozenset(value)
    return value


def _entry_type(annotation: Any, number: Any) -> Any:
    """A type of the rule as TOML has it; `number` is what the whole numbers of the key may be."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        options = dict.fromkeys(_entry_type(each, number) for each in arguments)
        return functools.reduce(operator.or_, options)
    if origin in (frozenset, tuple):
        items: Any = list
        most = COPIES_MAX if origin is tuple else None
        return Annotated[
            items[_entry_type(arguments[0], number)], Field(min_length=1, max_length=most)
        ]
    plain = {int: number, float: _Probability, Burst: BurstEntry}
    return {**plain, Uniform: DurationEntry, LogNormal: DurationEntry}.get(annotation, annotation)


def _entry_fields() -> Iterator[tuple[str, Any]]:
    """The keys of a rule for pydantic; those of a fault are None where they are left out."""
    for name, each in FIELDS.items():
        about = each.metadata
        description, default = about["meaning"], each.default
        if name == "name":
            type_, default = str | None, None
            yield name, (type_, Field(default, min_length=1, description=description))
        elif name == "fault":
            yield name, (Literal[tuple(KINDS)], Field(description=description))
        else:
            number = Annotated[int, Field(ge=about["least"], le=about["most"])]
            type_ = _entry_type(type_of(name), number)
            if name in KIND_KEYS:
                type_, default = type_ | None, None
            limits: dict[str, Any] = {"ge": 0.0, "le": 1.0} if type_ is _Probability else {}
            yield name, (type_, Field(default, description=description, **limits))


if TYPE_CHECKING:
    RuleEntry = _RuleEntry
else:
    RuleEntry = create_model(
        "RuleEntry",
        __base__=_RuleEntry,
        __doc__="One `[[rule]]` table of a plan file.",
        **dict(_entry_fields()),
    )


class PlanFile(_Entry):
    """A plan file: a comment, any number of rules, and what is known about the plan, if anything is.

    The keys beside `comment` and `rule` describe; none of them changes a replay.
    """

    comment: str = Field("", description="what the plan is for, in a line")
    mode: str = Field("", description="the field failure mode that the plan brings about")
    reports: list[Annotated[str, Field(pattern="^https://")]] = Field(
        default_factory=list, description="public reports of it, as links"
    )
    needs: list[Annotated[str, Field(pattern="^[a-z_]+=")]] = Field(
        default_factory=list,
        description="profile fields that a deployment must have for it, as given to --set",
    )
    shows: str = Field("", description="a profile or a defect that fails under the plan")
    verdict: Literal["clean", "transient", "persistent", "inconclusive"] | None = Field(
        None, description="what that one's verdict is; inconclusive when the engine would have died"
    )
    rule: list[RuleEntry] = Field(default_factory=list, description="the rules, in any order")


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
        rules.append(_shortcut(Drop(), drop))
    if delay is not None:
        probability, delay_ms = delay
        late = _shortcut(Delay(), probability)
        if not 0.001 <= delay_ms <= 1e10:
            raise PlanError(
                f"--delay: {delay_ms:g} ms is not a delay; give at least 0.001 and at most 1e10"
            )
        rules.append(dataclasses.replace(late, delay_us=round(delay_ms * 1000)))
    if duplicate is not None:
        rules.append(_shortcut(Duplicate(), duplicate))
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


def _shortcut(kind: FaultKind, probability: float) -> FaultRule:
    """The rule of the option that is called as its fault."""
    try:
        checked_probability(probability)
    except ValueError as problem:
        raise PlanError(f"--{kind.name}: {probability:g}: {problem}") from None
    return FaultRule(kind.name, kind.name, probability=probability)


def _same_name(name: str) -> str:
    return (
        f"two rules are called {name!r}; names seed a rule's choices, so give each rule a name of "
        "its own"
    )


def _on(line: int | None) -> str:
    return "" if line is None else f":{line}"


def _alternatives(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
