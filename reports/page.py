"""The report: recordings drawn as one HTML file that needs nothing else, not even a network.

recording directory -> Evidence -> Section -> template -> one file
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.html import check_output, content_policy, environment, sources, write_page

#: What the page is dressed in and what moves it; a part that needs more of either has its own file.
STYLES = ("report.css", "parts/lives.css", "parts/ownership.css")
SCRIPTS = ("parts/copy.js",)


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
        make_section(load(directory), f"r{number}", charts)
        for number, directory in enumerate(directories, start=1)
    ]
    if title is None:
        title = (
            f"kvreplay report: {sections[0].name}"
            if len(sections) == 1
            else f"kvreplay report on {len(sections)} recordings"
        )
    script = sources(SCRIPTS)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            sections=sections,
            style=sources(STYLES),
            script=script,
            policy=content_policy(script),
        )
    )
