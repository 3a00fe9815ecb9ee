"""The report: recordings drawn as one HTML file that needs nothing else, not even a network.

    recording directory -> Evidence -> Section -> template -> one file

Whatever comes from a recording is escaped by the template; the page's own script is allowed by its
hash and nothing else may run or load.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from replay.errors import RecordingError

_PAGE_START = b"<!doctype html>"


def write_report(directories: Sequence[Path], output: Path, title: str | None = None) -> None:
    """Draw recordings as one self-contained page, which appears whole or not at all.

    Args:
        directories: one recording each, shown in this order.
        output: the HTML file to write; an earlier report there is replaced.
        title: what the page is called; by default after what it shows.

    Raises:
        RecordingError: a recording cannot be read, or the page cannot be written.
    """
    check_output(output)
    _write_atomically(output, render_report(directories, title))


def render_report(directories: Sequence[Path], title: str | None = None) -> str:
    """The page as text.

    Raises:
        RecordingError: a recording cannot be read.
    """
    import jinja2
    from markupsafe import Markup

    from reports.evidence import load
    from reports.section import make_section

    sections = [
        make_section(load(directory), f"r{number}")
        for number, directory in enumerate(directories, start=1)
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _source(environment, "report.js")
    if title is None:
        title = (
            f"kvreplay report: {sections[0].name}"
            if len(sections) == 1
            else f"kvreplay report on {len(sections)} recordings"
        )
    return environment.get_template("report.html.j2").render(
        title=title,
        sections=sections,
        style=Markup(_source(environment, "report.css")),
        script=Markup(script),
        policy=_policy(script),
    )


def check_output(output: Path) -> None:
    """Make sure that a report may be written here, before anything is drawn.

    Raises:
        RecordingError: it is a directory, or a file that is not a report.
    """
    if output.is_dir():
        raise RecordingError(f"{output}: is a directory; name a file such as {output}/report.html")
    if not output.exists():
        return
    try:
        with output.open("rb") as file:
            start = file.read(len(_PAGE_START))
    except OSError as problem:
        raise RecordingError(f"{output}: cannot replace it: {problem.strerror}") from None
    if start and start.lower() != _PAGE_START:
        raise RecordingError(f"{output}: exists and is not an HTML page; name another file")


def _source(environment: object, name: str) -> str:
    import jinja2

    assert isinstance(environment, jinja2.Environment)
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _policy(script: str) -> str:
    """The page's content security policy: its own styles, its one script, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _write_atomically(output: Path, text: str) -> None:
    """Write beside the place, then take the place.

    Raises:
        RecordingError: the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".kvreplay-", suffix=".html", dir=output.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(output)
    except OSError as problem:
        raise RecordingError(
            f"{output}: cannot write the report there: {problem.strerror}"
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
