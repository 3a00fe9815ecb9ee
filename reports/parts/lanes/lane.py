"""The lanes of some requests of a recording, from its tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faults.events import STATE_MEANINGS
from replay.recording.events import EventFact
from replay.recording.kinds import STATES
from replay.recording.requests import SIDES, RequestRow, Side, side_of
from replay.verdict.episodes import kind_of
from reports.evidence import Evidence
from reports.parts.lanes.arrows import Arrow, arrows_of

#: State -> the colour variable of the style sheet that it is drawn in, without its dashes.
COLOURS = {
    "bootstrap": "free",
    "prefill-waiting": "cached",
    "prefilling": "running",
    "in-flight": "held",
    "absent": "free",
    "prealloc": "free",
    "transfer": "protected",
    "moving": "transfer",
    "landed": "held",
    "waiting": "cached",
    "running": "running",
    "deferred": "orphaned",
}
#: State -> what a request does in it.
MEANINGS = {str(state): meaning.partition(": ")[2] for state, meaning in STATE_MEANINGS.items()} | {
    "absent": STATES["absent"].begins,
    "running": "it is in the running batch, or was retracted for want of pages",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of virtual time that a request spent in one state of one side."""

    side: Side
    state: str
    start_us: int
    end_us: int
    #: Whether it went on beyond the end of the recording.
    is_open: bool = False

    @property
    def word(self) -> str:
        """A word or two that fit it."""
        return STATES[self.state].label


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay of its pages in the gap of a pool."""

    side: Side
    pool: str
    pages: int
    kind: str
    start_us: int
    end_us: int
    is_open: bool
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class Lanes:
    """One request on both sides, from its arrival to the last that the recording says of it."""

    request_id: str
    prefill_pool: str
    decode_pool: str
    prefill_state: str
    decode_state: str
    arrival_us: int
    end_us: int
    bars: tuple[Bar, ...]
    stays: tuple[Stay, ...]
    arrows: tuple[Arrow, ...]

    def pool(self, side: Side) -> str:
        """The rank that has the request on one side."""
        return self.prefill_pool if side == "prefill" else self.decode_pool


def lanes_of(evidence: Evidence, request_ids: Sequence[str]) -> tuple[Lanes, ...]:
    """The lanes of these requests, in their order; one that the recording lacks is left out.

    Each table is looked through once, however many requests there are.
    """
    wanted = pa.array(list(request_ids), pa.string())
    requests = evidence.tables["requests"]
    mine = requests.filter(pc.is_in(requests["request_id"], value_set=wanted))
    rows = {row.request_id: row for row in RequestRow.of_rows(mine)}
    stays: dict[str, list[dict[str, Any]]] = {}
    for stay in _rows(evidence, "owners", wanted):
        stays.setdefault(stay["request_id"], []).append(stay)
    events: dict[str, list[EventFact]] = {}
    table = evidence.tables["events"]
    for fact in EventFact.of_rows(table.filter(pc.is_in(table["request_id"], value_set=wanted))):
        events.setdefault(fact.request_id, []).append(fact)
    return tuple(
        make_lanes_of(
            rows[request_id],
            events.get(request_id, ()),
            stays.get(request_id, ()),
            evidence.end_us,
        )
        for request_id in dict.fromkeys(request_ids)
        if request_id in rows
    )


def make_lanes_of(
    row: RequestRow,
    events: Sequence[EventFact],
    stays: Sequence[dict[str, Any]],
    end_us: int,
) -> Lanes:
    """The lanes of one request from its rows; `end_us` is when the recording ends."""
    bars = bars_of(row, end_us)
    arrows = arrows_of(events)
    told = tuple(_stay(stay, end_us) for stay in stays)
    moments = [bar.end_us for bar in bars] + [stay.end_us for stay in told]
    moments += [moment for arrow in arrows for moment in arrow.moments_us]
    return Lanes(
        request_id=row.request_id,
        prefill_pool=row.prefill_pool,
        decode_pool=row.decode_pool,
        prefill_state=row.prefill_state,
        decode_state=row.decode_state,
        arrival_us=row.arrival_us,
        end_us=max(moments, default=row.arrival_us),
        bars=bars,
        stays=told,
        arrows=arrows,
    )


def bars_of(row: RequestRow, end_us: int) -> tuple[Bar, ...]:
    """The bars of both lanes, prefill's first, each lane in the order of time.

    Args:
        row: whose.
        end_us: when the recording ends.
    """
    stays = [stay for side in SIDES for stay in row.stays(side)]
    last_us = max(end_us, *(stay.start_us for stay in stays), 0)
    bars = (
        Bar(side, state, start_us, last_us if until_us is None else until_us, until_us is None)
        for side, state, start_us, until_us in stays
    )
    return tuple(bar for bar in bars if bar.end_us > bar.start_us)


def _stay(row: dict[str, Any], end_us: int) -> Stay:
    is_open = row["closed_audit"] is None
    return Stay(
        side=side_of(row["pool"]),
        pool=row["pool"],
        pages=row["pages"],
        kind=kind_of(row["share"], not is_open, row["can_progress"]),
        start_us=row["opened_us"],
        end_us=max(end_us, row["opened_us"]) if is_open else row["closed_us"],
        is_open=is_open,
        ended_by=row["ended_by"],
    )


def _rows(evidence: Evidence, name: str, wanted: pa.Array) -> list[dict[str, Any]]:
    table = evidence.tables[name]
    rows: list[dict[str, Any]] = table.filter(
        pc.is_in(table["request_id"], value_set=wanted)
    ).to_pylist()
    return rows
