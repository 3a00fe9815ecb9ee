"""The timeline of a recording as one picture for chat: it says by itself what it is of."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from reports.charts.drawing import (
    plain_svg,
    specification,
    timeline_chart,
    trusted,
    vega_lite,
    with_own_ids,
)
from reports.charts.strips import PALETTE, WIDE
from reports.charts.timeline import make_story
from reports.evidence import Evidence
from reports.words import VERDICTS, counted, number, seconds
from traces.text import shortened

#: Letters of a name that a picture has room for.
_NAME_MAX = 90


def timeline_svg_file(evidence: Evidence) -> str:
    """The picture as a file of its own, on a light background.

    Raises:
        ValueError: the recording has no audits.
    """
    return with_own_ids(plain_svg(_picture(evidence)), "timeline-")


def timeline_png(evidence: Evidence, scale: float = 2) -> bytes:
    """The same as PNG, `scale` pixels for each of the SVG's.

    Raises:
        ValueError: the recording has no audits.
    """
    import vl_convert

    png: bytes = vl_convert.vegalite_to_png(
        _picture(evidence), vl_version=vega_lite(), scale=scale, allowed_base_urls=[]
    )
    return png


def with_software(png: bytes, software: str) -> bytes:
    """A PNG that says what made it, right behind its header."""
    text = b"tEXtSoftware\0" + software.encode("latin-1")
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return png[:33] + chunk + png[33:]


def _picture(evidence: Evidence) -> dict[str, Any]:
    import altair as alt

    story = make_story(evidence)
    if story is None:
        raise ValueError("the recording has no audits")
    title = alt.Title(
        shortened(evidence.name, _NAME_MAX),
        subtitle=_subtitle(evidence, story.whole.pool),
        fontSize=16,
        subtitleFontSize=WIDE.font,
        subtitleColor=PALETTE["ink"],
        subtitleLineHeight=18,
        anchor="start",
        subtitlePadding=8,
        offset=12,
    )
    with trusted():
        chart = timeline_chart(story.whole, WIDE).properties(title=title, padding=16)
        return specification(chart, WIDE, background="#ffffff")


def _subtitle(evidence: Evidence, pool: str) -> list[str]:
    """The verdict, the equation, and what is drawn."""
    summary = evidence.summary
    sign, meaning = VERDICTS.get(summary["verdict"], ("?", "an unknown verdict"))
    lines = [f"{sign} {summary['verdict'].upper()}: {meaning}"]
    if (mismatch := summary["mismatch"]) is not None:
        names = ["available", "evictable", "protected"]
        names += [] if mismatch["quiet"] else ["live", "in_transfer"]
        accounted = sum(mismatch[name] for name in names)
        lines.append(
            f"{number(mismatch['total'])} total \N{MINUS SIGN} {number(accounted)} accounted for "
            f"= gap of {number(mismatch['gap'])} tokens = {counted(mismatch['pages'], 'page')} of "
            f"{number(mismatch['page_size'])}, in {shortened(mismatch['pool'], _NAME_MAX)} at "
            f"{seconds(mismatch['time_us'])}"
        )
    lines.append(f"{shortened(pool, _NAME_MAX)} over {seconds(evidence.end_us)} of virtual time")
    return lines
