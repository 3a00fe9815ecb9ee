"""The report: recordings drawn as one HTML file that needs nothing else, not even a network.

recording directory -> Evidence -> parts -> Section -> templates -> one file
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from replay.recording.file_kinds import PAGE
from reports.compare.comparison import Comparison, compare_if_two
from reports.compare.page import make_comparison_part
from reports.evidence import Evidence, load
from reports.html import beside, content_policy, environment, source, sources
from reports.parts.latency.baseline import baseline_of
from reports.parts.order import PARTS
from reports.section import Section, make_section
from traces.files.place import hold

if TYPE_CHECKING:
    from replay.verdict.findings.suppressions import Accepted

#: What every page is dressed in and moved by; a part that needs more of either has it in its folder.
STYLES = ("templates/report.css", "templates/tables.css", "compare/comparison.css")
SCRIPTS = ("templates/theme.js", "templates/copy.js", "templates/tables.js")
DARK = "templates/dark.css"


def styles() -> tuple[str, ...]:
    """The style sheets of a page."""
    return (*STYLES, *(name for part in PARTS for name in beside(part.folder, ".css")))


def scripts(parts: Collection[str]) -> tuple[str, ...]:
    """The scripts of a page on which these parts were made: most pages of a matrix have no charts."""
    mine = (name for part in PARTS if part.name in parts for name in beside(part.folder, ".js"))
    return (*SCRIPTS, *mine)


def write_report(
    directories: Sequence[Path | Evidence],
    output: Path,
    title: str | None = None,
    charts: bool = True,
    accepted: Accepted | None = None,
) -> None:
    """Draw recordings as one self-contained page, which appears whole or not at all.

    Args:
        directories: one recording each, shown in this order, or what has been read of one.
        output: the HTML file to write; an earlier report there is replaced.
        title: what the page is called; by default after what it shows.
        charts: whether charts are drawn; without them the page is smaller and says how to draw them.
        accepted: findings that a suppressions file accepts, told apart on the page.

    Raises:
        RecordingError: a recording cannot be read, or the page cannot be written.
    """
    with hold(output, PAGE, makes_folders=True) as place:
        place.write(render_report(directories, title, charts, accepted))


def render_report(
    directories: Sequence[Path | Evidence],
    title: str | None = None,
    charts: bool = True,
    accepted: Accepted | None = None,
) -> str:
    """The page as text; of exactly two recordings it begins with their comparison.

    Raises:
        RecordingError: a recording cannot be read.
    """
    found = [load(each) if isinstance(each, Path) else each for each in directories]
    sections = make_sections(found, charts, accepted)
    return render_page(sections, compare_if_two(found), title)


def make_sections(
    recordings: Sequence[Evidence], charts: bool = True, accepted: Accepted | None = None
) -> list[Section]:
    """What is said of each recording; one without faults is what its like are measured against."""
    return [
        make_section(
            evidence,
            f"r{number}",
            charts,
            accepted=accepted,
            baseline=baseline_of(evidence, recordings),
            recordings=len(recordings),
        )
        for number, evidence in enumerate(recordings, start=1)
    ]


def render_page(
    sections: Sequence[Section], comparison: Comparison | None = None, title: str | None = None
) -> str:
    """The page as text, of recordings that have been read."""
    heading = title or "kvreplay report"
    if title is None:
        title = heading + _what_it_shows(sections, comparison)
    script = sources(scripts({name for section in sections for name in section.made}))
    return (
        environment()
        .get_template("templates/report.html.j2")
        .render(
            title=title,
            heading=heading,
            sections=sections,
            comparison=None if comparison is None else make_comparison_part(comparison),
            style=sources(styles()),
            dark=source(DARK),
            script=script,
            policy=content_policy(script),
        )
    )


def _what_it_shows(sections: Sequence[Section], comparison: Comparison | None) -> str:
    if len(sections) == 1:
        return f": {sections[0].heading}"
    if comparison is not None:
        return f": {sections[0].heading} and {sections[1].heading}"
    return f" on {len(sections)} recordings"
