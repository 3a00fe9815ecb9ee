"""The swim lanes of the guilty requests of the worst episode, as a report shows them.

Any other list of requests can be shown the same way, see `show_lanes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from replay.explain.subject import guilty_requests
from replay.recording.kinds import ENDS, STATES
from replay.recording.requests import SIDES, Side
from replay.recording.words import seconds as words_of_time
from reports.evidence import Evidence
from reports.html import TEXT_CHARACTERS_MAX
from reports.parts.base import Check, Part, equal
from reports.parts.lanes.arrows import SHAPES, Arrow
from reports.parts.lanes.drawing import draw, time_since
from reports.parts.lanes.lane import COLOURS, MEANINGS, Bar, Lanes, Stay, lanes_of
from reports.tables import ROWS_MAX, Table, make_table
from reports.words import NOTHING, counted, number, plain_seconds, shown
from traces.text import shortened

#: Requests that one recording's page draws, and where the page is one of many.
LANES_MAX = 12
LANES_FEW = 3
#: Characters of a request's id in a heading; the table behind the picture has all of it.
_NAME_MAX = 90
_LABEL_MAX = 700


@dataclass(frozen=True, slots=True)
class ShownLanes:
    """One request: its picture, what it says in words, and the table behind it."""

    #: Its place on the page, which rules and tables may link to.
    anchor: str
    name: str
    #: The whole id, where the name is shortened.
    whole_name: str | None
    headline: str
    label: str
    svg: Markup
    #: What the picture leaves out; empty where it has all.
    left_out: str
    gaps: tuple[str, ...]
    table: Table


@dataclass(frozen=True, slots=True)
class LanesPart:
    """The requests that are shown, and of how many."""

    title: str
    lanes: tuple[ShownLanes, ...]
    shown: str
    #: Colour variable, word, side and meaning of each state that occurs; sign and meaning of arrows.
    states: tuple[tuple[str, str, str], ...]
    arrows: tuple[tuple[str, str], ...]
    #: What was drawn, for those who check it.
    drawn: tuple[Lanes, ...]

    def anchor_of(self, request_id: str) -> str | None:
        """Where a request is shown, if it is."""
        for lanes, picture in zip(self.drawn, self.lanes, strict=True):
            if lanes.request_id == request_id:
                return picture.anchor
        return None


def make_lanes(evidence: Evidence, anchor: str, most: int = LANES_MAX) -> LanesPart | None:
    """The lanes of the first guilty requests of the worst episode; None where there are none.

    The first is the one that the gap is put down to, the others follow by their pages.
    """
    if (worst := evidence.worst) is None or not (guilty := guilty_requests(worst)):
        return None
    title = "Requests behind the gap, on both sides"
    return show_lanes(lanes_of(evidence, guilty[:most]), f"{anchor}-lanes", title, len(guilty))


def show_lanes(drawn: Sequence[Lanes], anchor: str, title: str, of: int) -> LanesPart:
    """Any requests as pictures with their tables.

    Args:
        drawn: their lanes, see `reports.parts.lanes.lane.lanes_of`.
        anchor: begins every id of this part; must differ from others on the page.
        title: what stands over them.
        of: how many there are in all.
    """
    used_states = {(bar.state, bar.side) for lanes in drawn for bar in lanes.bars}
    used = {arrow.shape for lanes in drawn for arrow in lanes.arrows}
    states = (
        (COLOURS[state], f"{side}: {STATES[state].label}", MEANINGS[state])
        for state in STATES
        for side in SIDES
        if (state, side) in used_states
    )
    return LanesPart(
        title=title,
        lanes=tuple(_show(lanes, f"{anchor}-{at}") for at, lanes in enumerate(drawn, start=1)),
        shown=shown(len(drawn), of),
        states=tuple(states),
        arrows=tuple(words for shape, words in SHAPES.items() if shape in used),
        drawn=tuple(drawn),
    )


def _show(lanes: Lanes, anchor: str) -> ShownLanes:
    picture = draw(lanes, f"{anchor}-")
    name = shortened(lanes.request_id, _NAME_MAX)
    whole = shortened(lanes.request_id, TEXT_CHARACTERS_MAX)
    left_out = ""
    if picture.arrows < picture.of:
        left_out = (
            f"showing {number(picture.arrows)} of {number(picture.of)} distinct events, faulted "
            "ones first; the table lists the others"
        )
    return ShownLanes(
        anchor=anchor,
        name=name,
        whole_name=None if name == whole else whole,
        headline=_headline(lanes),
        label=_label(lanes, name),
        svg=picture.svg,
        left_out=left_out,
        gaps=tuple(_gap_words(lanes, stay) for stay in lanes.stays[:_GAPS_MAX])
        + ((f"showing {_GAPS_MAX} of {number(len(lanes.stays))} stays",) * _is_cut(lanes)),
        table=_table(lanes, name),
    )


#: Stays in the gap that stand in words under a picture.
_GAPS_MAX = 4


def _is_cut(lanes: Lanes) -> bool:
    return len(lanes.stays) > _GAPS_MAX


def _headline(lanes: Lanes) -> str:
    ends = [
        f"{pool} {ENDS[state].label if state in ENDS else f'never ended ({state})'}"
        for pool, state in (
            (lanes.prefill_pool, lanes.prefill_state),
            (lanes.decode_pool, lanes.decode_state),
        )
    ]
    return f"arrived at {lanes.arrival_us / 1e6:,.6f} s; {', '.join(ends)}"


def _gap_words(lanes: Lanes, stay: Stay) -> str:
    """One stay in the gap."""
    since = f"+{time_since(max(stay.start_us - lanes.arrival_us, 0))}"
    until = f"+{time_since(max(stay.end_us - lanes.arrival_us, 0))}"
    if stay.is_open:
        until = f"the end of the recording ({until})"
    ended = f", when it was {stay.ended_by}" if stay.ended_by else ""
    return (
        f"{counted(abs(stay.pages), 'page')} {stay.kind} in {stay.pool} from {since} until "
        f"{until}{ended}"
    )


def _label(lanes: Lanes, name: str) -> str:
    """The picture in words, for those who do not see it."""
    told = []
    for side in SIDES:
        states = (
            f"{bar.word} {time_since(bar.end_us - bar.start_us)}"
            for bar in lanes.bars
            if bar.side == side
        )
        told.append(f"{side}: {', '.join(states) or 'nothing recorded'}")
    faulted = [arrow for arrow in lanes.arrows if arrow.fault]
    events = f"{counted(sum(len(arrow.deliveries) for arrow in lanes.arrows), 'event delivery')}"
    told.append(events.replace("deliverys", "deliveries"))
    if faulted:
        told.append("faulted: " + "; ".join(arrow.what for arrow in faulted[:3]))
    if lanes.stays:
        told.append("in the gap: " + _gap_words(lanes, lanes.stays[0]))
    return shortened(f"Swim lanes of request {name}. {'. '.join(told)}.", _LABEL_MAX)


def _table(lanes: Lanes, name: str) -> Table:
    """The numbers behind a picture: every bar, delivery and stay, in the order of time."""
    rows = [_bar_row(lanes, bar) for bar in lanes.bars]
    rows += [row for arrow in lanes.arrows for row in _arrow_rows(lanes, arrow)]
    for stay in lanes.stays:
        rows.append((stay.start_us, 2, stay.pool, f"in the gap: {_gap_words(lanes, stay)}", "", ""))
    rows.sort(key=lambda row: row[:2])
    cells = (
        (plain_seconds(at_us, 6), place, sign or NOTHING, what, rule or NOTHING)
        for at_us, _, place, what, sign, rule in rows[:ROWS_MAX]
    )
    titles = "#time, s|where|arrow|what|rule"
    return make_table(f"{name} on both sides", titles, cells, len(rows))


#: Time, rank among those of one time, where, what, number of the arrow, rule.
_Row = tuple[int, int, str, str, str, str]


def _bar_row(lanes: Lanes, bar: Bar) -> _Row:
    until = (
        f"until the recording ends at {bar.end_us / 1e6:,.6f} s"
        if bar.is_open
        else f"for {words_of_time(bar.end_us - bar.start_us)}"
    )
    what = f"{bar.word}: {MEANINGS[bar.state]}, {until}"
    return bar.start_us, 1, lanes.pool(bar.side), what, "", ""


def _arrow_rows(lanes: Lanes, arrow: Arrow) -> Iterable[_Row]:
    """When it was sent, and when it came; an abort or a timeout has only the latter."""
    sender: Side = "prefill" if arrow.to == "decode" else "decode"
    sign, rule = str(arrow.number), ", ".join(arrow.rules)
    many = f", {counted(len(arrow.deliveries), 'event')} alike" if len(arrow.deliveries) > 1 else ""
    is_strike, is_copy = arrow.shape == "strike", bool(arrow.deliveries[0][1])
    if not is_strike and not is_copy:
        kind = "completion" if arrow.to == "decode" else "acknowledgement"
        due = f", due at {arrow.due_us / 1e6:,.6f} s"
        what = f"the {kind} is sent{due}{many}"
        yield arrow.sent_us, 3, lanes.pool(sender), what, sign, ""
    at_us = arrow.due_us if arrow.delivered_us is None else arrow.delivered_us
    fault = f"{arrow.fault}: " if arrow.fault else ""
    yield at_us, 4, lanes.pool(arrow.to), f"{fault}{arrow.what}", sign, rule


def check_lanes(evidence: Evidence, part: LanesPart) -> tuple[Check, ...]:
    """Every event of the requests shown is in one arrow, and their stays are the owners' pages."""
    names = pa.array([lanes.request_id for lanes in part.drawn], pa.string())

    def recorded(table: str) -> pa.Table:
        rows = evidence.tables[table]
        return rows.filter(pc.is_in(rows["request_id"], value_set=names))

    drawn = sum(len(arrow.deliveries) for lanes in part.drawn for arrow in lanes.arrows)
    events = recorded("events").num_rows
    pages = sum(abs(stay.pages) for lanes in part.drawn for stay in lanes.stays)
    owned = pc.sum(pc.abs(recorded("owners")["pages"])).as_py() or 0
    return (
        equal("deliveries in the lanes = rows of events.parquet of these requests", drawn, events),
        equal(
            "pages of the stays in the lanes = rows of owners.parquet of these requests",
            pages,
            owned,
        ),
    )


LANES = Part(
    "lanes",
    lambda context: make_lanes(
        context.evidence, context.anchor, LANES_MAX if context.has_charts else LANES_FEW
    ),
    check_lanes,
    link="Requests behind the gap",
    key="lanes",
)
