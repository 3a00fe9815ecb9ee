"""The timeline of a recording as one picture for chat: it says by itself what it is of."""

from __future__ import annotations

import struct
import zlib

from markupsafe import escape

from reports.drawings.step_chart import PALETTE, WIDE, parts_of
from reports.drawings.timeline import make_story, timeline_chart
from reports.evidence import Evidence
from reports.words import counted, number, seconds, verdict_words
from traces.text import printable, shortened

#: Letters of a name that a picture has room for.
_NAME_MAX = 90
_MARGIN = 16
#: What a file that kvreplay may replace has in it.
_MARK = "kvreplay.timeline/1"


def timeline_svg(evidence: Evidence) -> str:
    """The picture as an SVG file, on a light background.

    Raises:
        ValueError: the recording has no audits.
    """
    story = make_story(evidence)
    if story is None:
        raise ValueError("the recording has no audits")
    texts: list[str] = []
    top = 0
    for words in (shortened(evidence.name, _NAME_MAX), *_words(evidence, story.whole.pool)):
        looks = "" if texts else 'font-size="16" font-weight="600" '
        top += 20
        texts.append(
            f'<text x="2" y="{top}" {looks}fill="{PALETTE["ink"]}">{escape(printable(words))}</text>'
        )
    drawn, height = parts_of(timeline_chart(story.whole, WIDE), WIDE, top + 14)
    width = WIDE.width + 2 * _MARGIN
    height += 2 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_MARGIN} {-_MARGIN} {width} {height:g}" '
        f'width="{width}" height="{height:g}" font-size="{WIDE.font}" font-family="sans-serif">'
        f'<!-- {_MARK} --><rect x="{-_MARGIN}" y="{-_MARGIN}" width="{width}" height="{height:g}" '
        f'fill="#ffffff"/>{"".join(texts)}{"".join(drawn)}</svg>'
    )


def timeline_png(evidence: Evidence, scale: float = 2) -> bytes:
    """The same as PNG, `scale` pixels for each of the SVG's.

    Raises:
        ValueError: the recording has no audits.
    """
    import vl_convert

    png: bytes = vl_convert.svg_to_png(timeline_svg(evidence), scale=scale)
    # It says what made it, right behind its header.
    text = b"tEXtSoftware\0" + _MARK.encode("latin-1")
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return png[:33] + chunk + png[33:]


def _words(evidence: Evidence, pool: str) -> list[str]:
    """The verdict, the equation, and what is drawn."""
    summary = evidence.summary
    sign, meaning = verdict_words(summary["verdict"])
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
