"""The report: recordings drawn as one HTML file that needs nothing else, not even a network.

recording directory -> Evidence -> Section -> template -> one file
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.html import check_output, content_policy, environment, source, sources, write_page

#: What the page is dressed in and what moves it; a part that needs more of either has its own file.
STYLES = ("report.css", "parts/lives.css", "parts/timeline.css")
SCRIPTS = ("parts/theme.js", "parts/copy.js")
#: What moves charts, where there are any: most pages of a matrix have none.
CHART_SCRIPTS = ("parts/timeline_drawing.js", "parts/timeline.js")


def write_report(
    directories: Sequence[Path], output: Path, title: str | None = None, charts: bool = True
) -> None:
    """Draw recordings as one self-contained page, which appears whole or not at all.

    Args:
        directories: one recording each, shown in this order.
        output: the HTML file to write; an earlier report there is replaced.
        title: what the page is called; by default after what it shows.
        charts: whether charts are drawn. They cost about two seconds a recording; without them
            the page is made in less than a tenth of one, and says how to draw them.

    Raises:
        RecordingError: a recording cannot be read, or the page cannot be written.
    """
    check_output(output)
    write_page(output, render_report(directories, title, charts))


def render_report(
    directories: Sequence[Path], title: str | None = None, charts: bool = True
) -> str:
    """The page as text.

    Raises:
        RecordingError: a recording cannot be read.
    """
    from reports.evidence import load
    from reports.section import make_section

    sections = [
        make_section(load(directory), f"r{number}", charts, len(directories))
        for number, directory in enumerate(directories, start=1)
    ]
    heading = title or "kvreplay report"
    if title is None:
        one = len(sections) == 1
        what = f": {sections[0].heading}" if one else f" on {len(sections)} recordings"
        title = heading + what
    has_charts = any(section.charts for section in sections)
    script = sources((*SCRIPTS, *(CHART_SCRIPTS if has_charts else ())))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            heading=heading,
            sections=sections,
            style=sources(STYLES),
            dark=source("dark.css"),
            script=script,
            policy=content_policy(script),
        )
    )
