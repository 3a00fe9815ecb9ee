"""One recording as the page shows it: its parts, made and checked, ready for their templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.evidence import Evidence
from reports.parts.base import Check, Context, Made, Part
from reports.parts.first_screen.part import FirstScreen
from reports.parts.order import PARTS
from traces.text import shortened

if TYPE_CHECKING:
    from replay.verdict.findings.suppressions import Accepted

#: Characters of a heading.
HEADING_CHARACTERS_MAX = 120


@dataclass(frozen=True, slots=True)
class Section:
    """Everything that outputs say about one recording."""

    anchor: str
    #: The directory as it was given, and the same short enough for a heading.
    name: str
    heading: str
    #: What was made of each part, by name; a part with nothing to say is missing.
    made: Mapping[str, Any]
    checks: tuple[Check, ...]

    @property
    def parts(self) -> tuple[Part[Any], ...]:
        """The parts that have something to say."""
        return tuple(part for part in PARTS if part.name in self.made)

    @property
    def screen(self) -> FirstScreen:
        """Its first part, which every recording has."""
        screen: FirstScreen = self.made["first_screen"]
        return screen

    @property
    def failed_checks(self) -> int:
        """How many of its numbers do not reconcile."""
        return sum(not check.passed for check in self.checks)

    def of(self, part: Part[Made]) -> Made | None:
        """What was made of a part."""
        return self.made.get(part.name)


def make_section(
    evidence: Evidence,
    anchor: str,
    charts: bool = True,
    *,
    accepted: Accepted | None = None,
    baseline: Evidence | None = None,
    recordings: int = 1,
) -> Section:
    """Make and check every part of a recording; see `Context` for what the arguments mean."""
    made: dict[str, Any] = {}
    checks: dict[str, tuple[Check, ...]] = {}
    context = Context(evidence, anchor, charts, accepted, baseline, recordings, made)
    for part in PARTS:
        if (value := part.make(context)) is None:
            continue
        made[part.name] = value
        if part.check is not None:
            checks[part.name] = part.check(evidence, value)
    heading = shortened(evidence.name, HEADING_CHARACTERS_MAX)
    first = checks.pop("checks")
    return Section(anchor, evidence.name, heading, made, sum(checks.values(), first))
