"""A suppressions file: findings that are known and accepted, each with a reason and until when.

Its keys, for `docs/findings.md` has an example:

[[suppression]]  one accepted way of going wrong
name, reason     what it is called, and why it is accepted
expires          the last day on which it is
category, ...    what it matches: all that are given, and one at least (`MATCHING_KEYS`)
pages_max        the most pages of a recording that it accepts, together
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import ValidationError as PydanticError

from faults.kinds.registry import KINDS
from faults.toml.errors import explain, nearest
from faults.toml.lines import TomlPath, lines_of, nearest_line
from faults.toml.reading import TomlError, parse_toml, toml_text
from replay.errors import SuppressionError
from replay.verdict.findings.finding import (
    NEVER_ENDED,
    RELEASED_BY_ANOTHER,
    CategoryName,
    Finding,
    worst_first,
)

_FINGERPRINT = re.compile(r"[0-9a-f]{12}")

#: Keys that say what a suppression is about; one at least must be given.
MATCHING_KEYS = ("category", "kind", "pool", "fault", "rule", "profile", "request", "fingerprint")


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("empty: say why this is accepted, and who decided so")
    return value


def _named(value: str) -> str:
    if not value.strip():
        raise ValueError("empty: give it a name that messages can use")
    return value


def _date(value: object) -> date:
    """A TOML date, or the same as text; a moment is not a date."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    wanted = "expected a date such as 2027-03-31, the last day on which this is accepted"
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{wanted}; there is no such day") from None
    raise ValueError(wanted)


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _globs(value: list[str]) -> list[str]:
    if not all(value):
        raise ValueError("an empty pattern matches nothing; use '*' for everything")
    return value


def _faults(value: list[str]) -> list[str]:
    for each in value:
        if each not in KINDS:
            raise ValueError(f"{each!r} is not a fault; {nearest(each, KINDS)}")
    return value


def _kinds(value: list[str]) -> list[str]:
    from replay.recording.kinds import KindName

    known = (*get_args(KindName), NEVER_ENDED, RELEASED_BY_ANOTHER)
    for each in value:
        if each not in known:
            raise ValueError(f"{each!r} is not a kind; {nearest(each, known)}")
    return value


def _fingerprints(value: list[str]) -> list[str]:
    for each in value:
        if not _FINGERPRINT.fullmatch(each):
            raise ValueError(f"{each!r} is not a fingerprint: 12 of 0-9 and a-f, as reports show")
    return value


_Texts = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
Globs = Annotated[_Texts, AfterValidator(_globs)]


class Suppression(BaseModel):
    """One accepted way of going wrong; of a key with a list, any element will do."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, AfterValidator(_named)]
    reason: Annotated[str, AfterValidator(_said)]
    expires: Annotated[date, BeforeValidator(_date)]
    category: (
        Annotated[list[CategoryName], BeforeValidator(_listed), Field(min_length=1)] | None
    ) = None
    kind: Annotated[_Texts, AfterValidator(_kinds)] | None = None
    pool: Globs | None = None
    fault: Annotated[_Texts, AfterValidator(_faults)] | None = None
    rule: Globs | None = None
    profile: Globs | None = None
    request: Globs | None = None
    fingerprint: Annotated[_Texts, AfterValidator(_fingerprints)] | None = None
    pages_max: int | None = Field(None, ge=0)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    suppression: list[Suppression] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Suppressions:
    """The entries of a file, in its order, and where each stands."""

    path: Path
    entries: tuple[Suppression, ...] = ()
    #: The line of each, from 1.
    lines: tuple[int | None, ...] = ()

    def where(self, entry: Suppression) -> str:
        """An entry by file and line."""
        return _at(self.path, self.lines[self.entries.index(entry)])


def read_suppressions(path: Path) -> Suppressions:
    """Read a suppressions file.

    Raises:
        SuppressionError: it is missing, is not TOML, or has a key or value that no suppression takes.
    """
    try:
        text = toml_text(path, "suppressions")
    except TomlError as problem:
        raise SuppressionError(problem.at(path)) from None
    return parse_suppressions(text, path)


def parse_suppressions(text: str, path: Path) -> Suppressions:
    """Read suppressions from their text; `path` is what errors call it.

    Raises:
        SuppressionError: as `read_suppressions`.
    """
    try:
        document = parse_toml(text)
    except TomlError as problem:
        raise SuppressionError(problem.at(path)) from None
    try:
        entries = tuple(_File.model_validate(document).suppression)
    except PydanticError as problem:
        line, sentence = explain(problem, text, document, _File)
        raise SuppressionError(f"{_at(path, line)}: {sentence}") from None
    lines = lines_of(text)
    _check(path, entries, lines)
    places = tuple(nearest_line(lines, ("suppression", place)) for place in range(len(entries)))
    return Suppressions(path, entries, places)


def _check(path: Path, entries: tuple[Suppression, ...], lines: Mapping[TomlPath, int]) -> None:
    """What no single key says: names are unique, and every entry matches something in particular."""
    seen: set[str] = set()
    for place, entry in enumerate(entries):
        where = _at(path, nearest_line(lines, ("suppression", place)))
        if entry.name in seen:
            raise SuppressionError(
                f"{where}: suppression[{place + 1}]: there is another called {entry.name!r}; "
                "names must differ"
            )
        seen.add(entry.name)
        if all(getattr(entry, key) is None for key in MATCHING_KEYS):
            raise SuppressionError(
                f"{where}: suppression[{place + 1}]: matches everything; give at least one of "
                f"{', '.join(MATCHING_KEYS)}"
            )


def _at(path: Path, line: int | None) -> str:
    return str(path) if line is None else f"{path}:{line}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Accepted findings, and the day on which they must still be valid."""

    suppressions: Suppressions
    today: date

    @property
    def expired(self) -> tuple[Suppression, ...]:
        """Entries whose last day is over: they accept nothing."""
        return tuple(each for each in self.suppressions.entries if self.days_left(each) < 0)

    def days_left(self, entry: Suppression) -> int:
        """Days until the last one on which an entry counts; fewer than none afterwards."""
        return (entry.expires - self.today).days

    def by_name(self, name: str) -> Suppression:
        """The entry of a name."""
        return next(each for each in self.suppressions.entries if each.name == name)


@dataclass(frozen=True, slots=True)
class Matched:
    """The findings of one recording with the name of what accepts each, the worst first."""

    findings: tuple[Finding, ...]
    #: Names of entries that accept something here.
    used: frozenset[str] = frozenset()
    #: Entries that match more lasting pages than they accept, with how many; they accept none.
    outgrown: tuple[tuple[Suppression, int], ...] = ()


def accept(findings: Sequence[Finding], profile: str, accepted: Accepted) -> Matched:
    """Name for every finding the first entry that accepts it.

    An entry with `pages_max` accepts all that it matches and no earlier entry has accepted, or,
    where the lasting pages of these are more, none of it: half of a leak is not acceptable.
    """
    by: dict[int, str] = {}
    outgrown: list[tuple[Suppression, int]] = []
    for entry in accepted.suppressions.entries:
        if accepted.days_left(entry) < 0:
            continue
        mine = [
            place
            for place, finding in enumerate(findings)
            if place not in by and matches(entry, finding, profile)
        ]
        pages = sum(findings[place].pages for place in mine if findings[place].lasts)
        if entry.pages_max is not None and pages > entry.pages_max:
            outgrown.append((entry, pages))
        else:
            by |= dict.fromkeys(mine, entry.name)
    marked = (
        dataclasses.replace(finding, suppressed_by=by.get(place))
        for place, finding in enumerate(findings)
    )
    return Matched(tuple(sorted(marked, key=worst_first)), frozenset(by.values()), tuple(outgrown))


def matches(entry: Suppression, finding: Finding, profile: str) -> bool:
    """Whether all that an entry asks for is so; of several requests or rules, of every one."""
    owners = [block.request_id or "" for block in finding.blocks]
    return (
        (entry.category is None or finding.category in entry.category)
        and (entry.kind is None or finding.kind in entry.kind)
        and (entry.pool is None or _any(entry.pool, finding.pool))
        and (
            entry.fault is None
            or (bool(finding.faults) and set(finding.faults) <= set(entry.fault))
        )
        and (entry.rule is None or _all(entry.rule, finding.rules))
        and (entry.profile is None or _any(entry.profile, profile))
        and (entry.request is None or (all(owners) and _all(entry.request, owners)))
        and (entry.fingerprint is None or finding.fingerprint in entry.fingerprint)
    )


def _any(globs: Sequence[str], text: str) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)


def _all(globs: Sequence[str], texts: Iterable[str]) -> bool:
    known = tuple(texts)
    return bool(known) and all(_any(globs, text) for text in known)
