"""What every HTML page of kvreplay is made with: templates and a policy.

Whatever comes from outside is made printable and escaped by the templates; a page's own script is
allowed by its hash and nothing else may run or load.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from traces.text import printable, shortened

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

#: Characters of any one text on a page; a name may have megabytes, and stand in many places.
TEXT_CHARACTERS_MAX = 20_000


@cache
def environment() -> jinja2.Environment:
    """The templates, made once a process: a matrix draws hundreds of pages from the same few."""
    import jinja2

    return jinja2.Environment(
        # Names are paths in the package: a part's template lies beside what makes the part.
        loader=jinja2.PackageLoader("reports", "."),
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


@cache
def beside(folder: str, suffix: str) -> tuple[str, ...]:
    """The sources in a folder of the package that end like this, in the order of their names."""
    names = environment().list_templates()
    return tuple(name for name in names if name.startswith(f"{folder}/") and name.endswith(suffix))


def content_policy(script: str) -> str:
    """A page's content security policy: its own styles, its one script, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
