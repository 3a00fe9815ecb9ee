"""The line that draws the charts of a page that was made without them."""

from __future__ import annotations

import shlex

from reports.parts.base import Context, Part


def how_to_draw(context: Context) -> str | None:
    """The line, or None where charts are drawn or there would be none."""
    if context.has_charts or not context.evidence.tables["audits"].num_rows:
        return None
    return f"kvreplay report {shlex.quote(context.evidence.name)}"


LEFT_OUT = Part("left_out", how_to_draw)
