"""What every HTML page of kvreplay is made with: templates, a policy, and a place it lands on whole.

Whatever comes from outside is made printable and escaped by the templates; a page's own script is
allowed by its hash and nothing else may run or load.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from replay.errors import RecordingError
from traces.text import printable, shortened

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

#: Characters of any one text on a page; a name may have megabytes, and stand in many places.
TEXT_CHARACTERS_MAX = 20_000
_PAGE_START = b"<!doctype html>"


@cache
def environment() -> jinja2.Environment:
    """The templates, made once a process: a matrix draws hundreds of pages from the same few."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _printed(value: object) -> object:
    """What a template puts into a page, printable: text, and markup that was built around text."""
    from markupsafe import Markup

    if isinstance(value, Markup):
        # What is written for a character means nothing in HTML.
        return Markup(printable(value))
    if isinstance(value, str):
        return shortened(value, TEXT_CHARACTERS_MAX, lines=True)
    return value


def source(name: str) -> Markup:
    """A style sheet or script of kvreplay's own, as it stands."""
    from markupsafe import Markup

    templates = environment()
    assert templates.loader is not None
    return Markup(templates.loader.get_source(templates, name)[0])


def sources(names: Iterable[str]) -> Markup:
    """Several of them, one after the other."""
    from markupsafe import Markup

    return Markup("\n").join(source(name) for name in names)


def content_policy(script: str) -> str:
    """A page's content security policy: its own styles, its one script, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def check_output(output: Path) -> None:
    """Make sure that a page may be written here, before anything is drawn.

    Raises:
        RecordingError: it is a directory, or a file that is not a page.
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


def write_page(output: Path, page: str) -> None:
    """Write a page so that it appears whole or not at all; folders are made as needed.

    Raises:
        RecordingError: the folder cannot be written.
    """
    from replay.recording import write_text

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, page)
    except OSError as problem:
        raise RecordingError(
            f"{output}: cannot write the report there: {problem.strerror}"
        ) from None
