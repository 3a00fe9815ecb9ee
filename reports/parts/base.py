"""What a part of a recording's section of the page must be.

A part is a folder `reports/parts/NAME` and its place in `order.PARTS`. The folder holds

    part.py          PART: what makes the part from a recording, what checks it, what it is called
    NAME.html.j2     the template: what was made is `part` there, and the whole section is `section`
    *.css, *.js      styles, and scripts for pages on which the part was made
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from reports.evidence import Evidence
from reports.words import number

if TYPE_CHECKING:
    from replay.verdict.findings.suppressions import Accepted

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Check:
    """One equation: what it says, its two sides, and whether they agree."""

    claim: str
    left: str
    right: str
    passed: bool


def equal(claim: str, left: int, right: int) -> Check:
    """A check that two numbers are the same."""
    return Check(claim, number(left), number(right), left == right)


@dataclass(frozen=True, slots=True)
class Context:
    """What a part is made from.

    Attributes:
        evidence: the recording.
        anchor: begins every id of its section of the page.
        has_charts: whether charts are drawn.
        accepted: findings that a suppressions file accepts.
        baseline: the same replay without faults, if it is at hand.
        recordings: how many share the page; many are drawn less finely.
        made: the parts before this one, by name.
    """

    evidence: Evidence
    anchor: str = "r1"
    has_charts: bool = True
    accepted: Accepted | None = None
    baseline: Evidence | None = None
    recordings: int = 1
    made: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part(Generic[Made]):
    """One part of the section.

    Attributes:
        name: of its folder, its template, and the end of its id on the page.
        make: puts a recording into words, numbers and drawings; None where there is nothing to say.
        check: holds what was made against the recording.
        link: what the section's table of contents calls it; a part without is not listed.
        key: where the JSON document has it under `parts`; one without has keys of its own there.
    """

    name: str
    make: Callable[[Context], Made | None]
    check: Callable[[Evidence, Made], tuple[Check, ...]] | None = None
    link: str = ""
    key: str = ""

    @property
    def folder(self) -> str:
        """Where its template, styles and scripts are."""
        return f"parts/{self.name}"

    @property
    def template(self) -> str:
        """What puts it into the page."""
        return f"{self.folder}/{self.name}.html.j2"
