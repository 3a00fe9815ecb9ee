"""What every HTML page of kvreplay is made with: templates and a policy.

Whatever comes from outside is escaped by the templates; a page's own script is allowed by its hash
and nothing else may run or load.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup


@cache
def environment() -> jinja2.Environment:
    """The templates, made once a process: a matrix draws hundreds of pages from the same few."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


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
