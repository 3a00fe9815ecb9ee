"""Lanes of one request as an inline SVG: time runs down, prefill to the left, decode to the right.

    since      prefill       completion events      decode
    arrival   +--------+                          +--------+
     +0 ms    | state  |                          | state  |
     +1 ms    +--------+ 1 ---------------------> +--------+

Time is stretched, so that a millisecond and ten minutes both show: between two neighbouring moments it
runs evenly, and how much room a stretch gets grows with the logarithm of its length. So moments keep
their order, a longer stretch is never drawn shorter, and every state has room for its word.

A narrow picture is wide enough for it, so that a phone and a desk get the same one, and words lie
flat. Colours are the style sheet's variables; every bar has its word, every fault its name.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from replay.recording.requests import SIDES, Side
from reports.parts.lanes.arrows import Arrow
from reports.parts.lanes.lane import COLOURS, Bar, Lanes, Stay

#: What the shortest stretch gets, enough for one line of text, and what each tenfold adds.
_STRETCH_MIN = 17.0
_PER_TENFOLD = 7.0
#: A stretch of this length gets little more than the least, in microseconds.
_UNIT_US = 200
#: A stretch that is drawn this many times shorter than another, for its time, gets a break mark.
_BREAK_RATIO = 50.0

WIDTH = 344
_TOP = 22
_BOTTOM = 20
_TIMES_RIGHT = 56.0
#: Left edge and width of each lane's bars, and where the strip of its gap lies.
_BAR: dict[Side, tuple[float, float]] = {"prefill": (72.0, 80.0), "decode": (248.0, 80.0)}
_GAP_STRIP: dict[Side, float] = {"prefill": 61.0, "decode": 332.0}
_STRIP_WIDTH = 8.0
#: Where arrows leave one lane and reach the other.
_INNER: dict[Side, float] = {"prefill": 153.0, "decode": 247.0}
#: How much higher than its baseline a line of text reaches, and what two lines are apart.
_ASCENT = 8.0
_LINE = 12.0
#: Characters that fit between the lanes.
_BETWEEN_MAX = 15
#: Arrows of one picture; a table has the others.
ARROWS_MAX = 16

#: Colour variable that a kind of gap is drawn in.
_GAP_COLOURS = {
    "held": "held",
    "cache-held": "cached",
    "stuck": "stuck",
    "orphaned": "orphaned",
    "over-freed": "overfreed",
    "counter-drift": "double",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Moments in order, and where on the axis each one lies."""

    moments_us: tuple[int, ...]
    places: tuple[float, ...]

    @property
    def length(self) -> float:
        """How long the axis is."""
        return self.places[-1]

    def place(self, at_us: int) -> float:
        """Where a moment lies; one outside of the scale lies at its nearer end."""
        if at_us <= self.moments_us[0]:
            return self.places[0]
        if at_us >= self.moments_us[-1]:
            return self.places[-1]
        at = bisect_right(self.moments_us, at_us)
        start_us, end_us = self.moments_us[at - 1 : at + 1]
        start, end = self.places[at - 1 : at + 1]
        return start + (end - start) * (at_us - start_us) / (end_us - start_us)

    def breaks(self) -> tuple[float, ...]:
        """The middles of stretches that are drawn much shorter, for their time, than others."""
        stretches = [
            (after_us - before_us, after - before, (before + after) / 2)
            for before_us, after_us, before, after in zip(
                self.moments_us, self.moments_us[1:], self.places, self.places[1:], strict=False
            )
        ]
        if not stretches:
            return ()
        shortest = min(length_us / room for length_us, room, _ in stretches)
        return tuple(
            middle
            for length_us, room, middle in stretches
            if length_us / room >= _BREAK_RATIO * shortest
        )


def make_scale(moments_us: Iterable[int]) -> Scale:
    """The scale on which all of these moments have a place of their own; there must be one."""
    moments = sorted(set(moments_us))
    places = [0.0]
    for before_us, after_us in itertools.pairwise(moments):
        room = _STRETCH_MIN + _PER_TENFOLD * math.log10(1 + (after_us - before_us) / _UNIT_US)
        places.append(round(places[-1] + room, 1))
    return Scale(tuple(moments), tuple(places))


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, and how many of the arrows it shows."""

    svg: Markup
    arrows: int
    of: int


def draw(lanes: Lanes, prefix: str) -> Picture:
    """Draw one request; `prefix` begins the ids in the drawing and must differ on one page."""
    arrows = _chosen(lanes.arrows)
    scale = make_scale(_moments(lanes, arrows))
    parts = [
        Markup('<defs><pattern id="{}hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
               'patternTransform="rotate(45)"><path class="hatch" d="M0 0V5"/></pattern></defs>')
        .format(prefix),
        _text(_TIMES_RIGHT, 12, "time", "time head", "end"),
        *(_text(_BAR[side][0], 12, side, "head") for side in SIDES),
        *_axis(lanes, scale),
    ]  # fmt: skip
    for bar in lanes.bars:
        parts += _bar(bar, scale)
    for stay in lanes.stays:
        top, bottom = _place(scale, stay.start_us), _place(scale, stay.end_us)
        left, colour = _GAP_STRIP[stay.side], _GAP_COLOURS.get(stay.kind, "stuck")
        box = f'x="{left}" y="{top}" width="{_STRIP_WIDTH}" height="{max(bottom - top, 3):.1f}"'
        parts.append(Markup(f'<rect class="gap c-{colour}" {box}/>'))
        parts.append(Markup(f'<rect {box} fill="url(#{prefix}hatch)"/>'))
    for arrow in arrows:
        parts += _arrow(arrow, scale)
    words, lowest = _words_of_arrows(arrows, scale)
    parts += words
    height = max(_TOP + scale.length, lowest) + _BOTTOM
    svg = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {:.0f}" width="{}" '
        'aria-hidden="true" focusable="false">{}</svg>'
    ).format(WIDTH, height, WIDTH, Markup("\n").join(parts))
    return Picture(svg, len(arrows), len(lanes.arrows))


def time_since(length_us: int) -> str:
    """A length of virtual time in a few characters, fine enough to tell neighbours apart."""
    if length_us < 1_000:
        return f"{length_us} \N{MICRO SIGN}s" if length_us else "0"
    if length_us < 1_000_000:
        return f"{length_us / 1e3:.4g} ms"
    return f"{length_us / 1e6:.3f} s" if length_us < 100_000_000 else f"{length_us / 1e6:,.1f} s"


def _chosen(arrows: tuple[Arrow, ...]) -> tuple[Arrow, ...]:
    """The arrows to draw: where there are too many, those that a fault touched come first."""
    first = sorted(arrows, key=lambda arrow: arrow.fault is None)[:ARROWS_MAX]
    return tuple(sorted(first, key=lambda arrow: arrow.number))


def _moments(lanes: Lanes, arrows: tuple[Arrow, ...]) -> set[int]:
    spans: list[Bar | Stay] = [*lanes.bars, *lanes.stays]
    moments = {lanes.arrival_us, lanes.end_us}
    moments.update(span.start_us for span in spans)
    moments.update(span.end_us for span in spans)
    return moments.union(*(arrow.moments_us for arrow in arrows))


def _place(scale: Scale, at_us: int) -> float:
    return round(_TOP + scale.place(at_us), 1)


def _axis(lanes: Lanes, scale: Scale) -> list[Markup]:
    """A line and a time at every moment, and a break mark where time is drawn much shorter."""
    parts, last = [], scale.moments_us[-1]
    for at_us in scale.moments_us:
        y = _place(scale, at_us)
        parts.append(Markup(f'<path class="tick" d="M{_TIMES_RIGHT + 2} {y}H{WIDTH}"/>'))
        words = time_since(at_us - lanes.arrival_us)
        parts.append(
            _text(
                _TIMES_RIGHT,
                y + 4,
                f"+{words}" if at_us != lanes.arrival_us else words,
                "time",
                "end",
            )
        )
    for middle in scale.breaks():
        y = round(_TOP + middle, 1)
        parts.append(Markup(f'<path class="break" d="M{_TIMES_RIGHT - 7} {y}l4 -3 3 6 4 -3"/>'))
    if any(bar.is_open for bar in lanes.bars) or any(stay.is_open for stay in lanes.stays):
        words = f"the recording ends at {last / 1e6:,.3f} s"
        parts.append(_text(WIDTH, _place(scale, last) + 15, words, "time", "end"))
    return parts


def _bar(bar: Bar, scale: Scale) -> list[Markup]:
    top, bottom = _place(scale, bar.start_us), _place(scale, bar.end_us)
    left, width = _BAR[bar.side]
    height = round(bottom - top - 1, 1)
    colour = COLOURS[bar.state]
    is_open = " open" if bar.is_open else ""
    parts = [
        Markup(f'<rect class="bar{is_open} c-{colour}" x="{left}" y="{top + 0.5}" width="{width}" height="{height}"/>'),
        Markup(f'<rect class="edge c-{colour}" x="{left}" y="{top + 0.5}" width="6" height="{height}"/>'),
        _text(left + 10, top + 12, bar.word, "word"),
    ]  # fmt: skip
    if bar.is_open:
        parts.append(Markup(f'<path class="on" d="M{left + width / 2 - 5} {bottom}l5 5 5 -5"/>'))
    if height >= 2 * _LINE + 3:
        lasted = ("> " if bar.is_open else "") + time_since(bar.end_us - bar.start_us)
        parts.append(_text(left + 10, top + 24, lasted, "time"))
    return parts


def _arrow(arrow: Arrow, scale: Scale) -> list[Markup]:
    """From the edge of the sender's lane to that of the receiver's."""
    sender: Side = "prefill" if arrow.to == "decode" else "decode"
    x0, x1 = _INNER[sender], _INNER[arrow.to]
    towards = 1 if x1 > x0 else -1
    sent, due = _place(scale, arrow.sent_us), _place(scale, arrow.due_us)
    came = None if arrow.delivered_us is None else _place(scale, arrow.delivered_us)
    tone = "faulted" if arrow.fault else "plain"
    if arrow.shape == "strike":
        y = due if came is None else came
        x = x1 - 10 * towards
        return [_path("solid " + tone, f"M{x - 5} {y}l5 -5 5 5 -5 5z")]
    if arrow.shape == "lost":
        x, y = (x0 + x1) / 2, (sent + due) / 2
        cross = f"M{x - 5:.1f} {y - 5:.1f}l10 10M{x - 5:.1f} {y + 5:.1f}l10 -10"
        return [_path("line " + tone, f"M{x0} {sent}L{x} {y:.1f}"), _path("cross " + tone, cross)]
    if came is None:
        # It is on its way for ever: a dashed line down to the end, and no head.
        x = (x0 + x1) / 2
        end = round(_TOP + scale.length, 1)
        return [_path("line dashed " + tone, f"M{x0} {sent}L{x} {due}V{end}")]
    start = min(sent, came) if arrow.shape == "early" else sent
    parts = []
    if arrow.shape == "early" and sent > came:
        parts.append(_path("line dotted " + tone, f"M{x0 + 2 * towards} {start}V{sent}"))
    dashed = " dashed" if arrow.shape == "late" else ""
    if arrow.shape == "late":
        parts.append(_path("line " + tone, f"M{x1 - 4} {due}h8"))
    tip = x1 - (14 * towards if arrow.shape == "astray" else 0)
    parts.append(_path(f"line{dashed} {tone}", f"M{x0} {start}L{tip} {came}"))
    parts.append(_path("solid " + tone, _head(tip, came, towards)))
    if arrow.shape == "again":
        parts.append(_path("solid " + tone, _head(tip - 7 * towards, came, towards)))
    elif arrow.shape == "failed":
        parts.append(_path("line " + tone, f"M{tip - 9 * towards} {came - 5}v10"))
    elif arrow.shape == "astray":
        parts.append(_text(tip + 8 * towards, came + 4, "?", "word " + tone, "middle"))
    return parts


def _head(x: float, y: float, towards: int) -> str:
    return f"M{x} {y}l{-7 * towards} -3.5v7z"


def _words_of_arrows(arrows: tuple[Arrow, ...], scale: Scale) -> tuple[list[Markup], float]:
    """Number and fault of each arrow beside it, one under the other where they are close; and how
    far down they go.
    """
    wanted = []
    for arrow in arrows:
        at_us = arrow.sent_us if arrow.shape != "strike" else arrow.moments_us[0]
        if arrow.shape == "early" and arrow.delivered_us is not None:
            at_us = min(at_us, arrow.delivered_us)
        wanted.append((_place(scale, at_us), arrow))
    parts: list[Markup] = []
    taken: list[tuple[float, Side, int]] = []
    for y, arrow in sorted(wanted, key=lambda pair: (pair[0], pair[1].number)):
        # At the lane it leaves; one that strikes, at the lane it hits.
        at_prefill = (arrow.to == "prefill") is (arrow.shape == "strike")
        side: Side = "prefill" if at_prefill else "decode"
        word = _cut(arrow.word)
        y = max(y - 3, _TOP + _ASCENT)
        while any(
            abs(y - other) < _LINE and (beside is side or length + len(word) >= _BETWEEN_MAX)
            for other, beside, length in taken
        ):
            y += 1
        taken.append((y, side, len(word)))
        tone = "faulted" if arrow.fault else "plain"
        x, anchor = (
            (_INNER["prefill"] + 2, "start") if at_prefill else (_INNER["decode"] - 2, "end")
        )
        parts.append(_text(x, y, word, f"note {tone}", anchor))
    return parts, max((y for y, _, _ in taken), default=0.0)


def _cut(words: str) -> str:
    """As much of a word as fits between the lanes; the table has all of it."""
    if len(words) <= _BETWEEN_MAX:
        return words
    return f"{words[: _BETWEEN_MAX - 1]}\N{HORIZONTAL ELLIPSIS}"


def _path(kind: str, d: str) -> Markup:
    return Markup(f'<path class="{kind}" d="{d}"/>')


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, x, round(y, 1), anchor, escape(words)
    )
