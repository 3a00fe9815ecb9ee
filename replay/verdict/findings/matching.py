"""Which findings a suppressions file accepts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from replay.verdict.findings.finding import Finding
from replay.verdict.findings.grouping import worst_first
from replay.verdict.findings.suppressions import Suppression, Suppressions


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is accepted, and the day on which that is asked."""

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
class Outcome:
    """The findings of one recording with the name of what accepts each, the worst first."""

    findings: tuple[Finding, ...]
    #: Names of entries that accept something here.
    used: frozenset[str] = frozenset()
    #: Entries that match more lasting pages than they accept, with how many; they accept none.
    outgrown: tuple[tuple[Suppression, int], ...] = ()


def accept(findings: Sequence[Finding], profile: str, accepted: Accepted) -> Outcome:
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
    return Outcome(tuple(sorted(marked, key=worst_first)), frozenset(by.values()), tuple(outgrown))


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
