"""The report: recordings drawn as one HTML file that needs nothing else, not even a network.

recording directory -> Evidence -> Section -> template -> one file
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from replay.recording.file_kinds import PAGE
from reports.html import content_policy, environment, source, sources
from traces.files.place import hold

if TYPE_CHECKING:
    from replay.verdict.findings.suppressions import Accepted
    from reports.compare.comparison import Comparison
    from reports.evidence import Evidence
    from reports.section import Section

#: What the page is dressed in and what moves it; a part that needs more of either has its own file.
STYLES = (
    "report.css",
    "parts/tables.css",
    "parts/ownership.css",
    "parts/lives.css",
    "parts/lanes.css",
    "parts/faults.css",
    "parts/latency.css",
    "parts/comparison.css",
    "parts/timeline.css",
)
SCRIPTS = ("parts/theme.js", "parts/copy.js", "parts/tables.js")
#: What moves charts, where there are any: most pages of a matrix have none.
CHART_SCRIPTS = ("parts/timeline_drawing.js", "parts/timeline.js")


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
        charts: whether charts are drawn. They cost about two seconds a recording; without them
            the page is made in less than a tenth of one, and says how to draw them.
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
    from reports.compare.comparison import compare_if_two
    from reports.evidence import load

    found = [load(each) if isinstance(each, Path) else each for each in directories]
    sections = make_sections(found, charts, accepted)
    return render_page(sections, compare_if_two(found), title)


def make_sections(
    recordings: Sequence[Evidence], charts: bool = True, accepted: Accepted | None = None
) -> list[Section]:
    """What is said of each recording; one without faults is what its like are measured against."""
    from reports.latency.baseline import baseline_of
    from reports.section import make_section

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
    has_charts = any(section.charts for section in sections)
    script = sources((*SCRIPTS, *(CHART_SCRIPTS if has_charts else ())))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            heading=heading,
            sections=sections,
            comparison=None if comparison is None else _comparison_part(comparison),
            style=sources(STYLES),
            dark=source("dark.css"),
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


def _comparison_part(comparison: Comparison) -> object:
    from reports.parts.comparison import make_comparison_part

    return make_comparison_part(comparison)
