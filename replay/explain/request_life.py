"""The life of one request, from the tables of a recording and, finer, from a watched replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.errors import RecordingError
from replay.explain.life import Life, Step, first_departure, in_order
from replay.explain.sighting_steps import sighting_steps
from replay.explain.subject import shown_id
from replay.explain.table_steps import (
    arrival_step,
    event_steps,
    gap_steps,
    read_step,
    row_steps,
    unended_steps,
)
from replay.recording.events import EventFact, read_events, read_numbered_events
from replay.recording.kinds import DECODE_ENDS, ENDS
from replay.recording.reader import Recording
from replay.recording.requests import RequestRow, side_of
from replay.recording.sightings import Sighted
from replay.recording.tables import CONTENTS_SCHEMA, OWNERS_SCHEMA, REQUESTS_SCHEMA
from replay.recording.words import counted, place_words, seconds

#: (decode state, prefill state) of a request that was served.
_WELL = ("finished", "done")


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The rows of one request."""

    request_id: str
    #: Its row of requests.parquet.
    row: RequestRow
    events: tuple[EventFact, ...]
    #: Events of others that a wrong read of this request is put down to.
    events_of_others: tuple[EventFact, ...]
    stays: tuple[dict[str, Any], ...]
    reads: tuple[dict[str, Any], ...]
    #: When the replay ended.
    end_us: int
    #: Servers on each side by side, which decides how pools are called.
    instances: dict[str, int]

    def place(self, pool: str) -> str:
        """What people call a pool."""
        return place_words(pool, self.instances[side_of(pool)])


def read_request(recording: Recording, request_id: str) -> RequestFacts:
    """Read what the tables hold about one request.

    Raises:
        RecordingError: there is no such request, or a table is missing or broken.
    """
    rows: list[RequestRow] = []
    for batch in recording.batches("requests", REQUESTS_SCHEMA.names):
        rows += RequestRow.of_rows(batch.filter(pc.equal(batch["request_id"], request_id)))
    if not rows:
        raise RecordingError(f"{recording.directory}: has no request {shown_id(request_id)}")
    events = read_events(recording, [request_id]).get(request_id, ())
    reads = _rows(recording, "contents", CONTENTS_SCHEMA, request_id)
    own = {event.event for event in events}
    named = {read["event"] for read in reads if read["event"] is not None} - own
    return RequestFacts(
        request_id=request_id,
        row=rows[0],
        events=events,
        events_of_others=read_numbered_events(recording, named),
        stays=tuple(_rows(recording, "owners", OWNERS_SCHEMA, request_id)),
        reads=tuple(reads),
        end_us=recording.end_us,
        instances={
            side: recording.run["profile"][f"{side}_instances"] for side in ("prefill", "decode")
        },
    )


def request_life(facts: RequestFacts, sighted: Sighted | None = None, note: str = "") -> Life:
    """Tell the life of a request.

    Args:
        facts: what the tables hold.
        sighted: what a watched replay saw of it; its states and pages then come from there.
        note: what could not be said, and why.
    """
    steps = in_order(_steps(facts, sighted))
    blame = first_departure(steps)
    return Life(
        subject="request",
        name=facts.request_id,
        headline=_headline(facts, steps, None if blame is None else steps[blame]),
        facts=_facts(facts),
        steps=steps,
        blame=blame,
        source="recording" if sighted is None else "replay",
        note=note,
    )


def _steps(facts: RequestFacts, sighted: Sighted | None) -> Iterator[Step]:
    row = facts.row
    sender = {"decode": row.prefill_pool, "prefill": row.decode_pool}
    yield arrival_step(facts.row)
    yield from row_steps(facts.row) if sighted is None else sighting_steps(sighted)
    yield from event_steps(facts.events, sender)
    yield from event_steps(facts.events_of_others, sender, foreign=True)
    for stay in facts.stays:
        yield from gap_steps(stay)
    yield from map(read_step, facts.reads)
    yield from unended_steps(facts.row, facts.end_us)


def _headline(facts: RequestFacts, steps: tuple[Step, ...], departure: Step | None) -> str:
    """One sentence: how the request ended, and what went wrong first."""
    row = facts.row
    outcome = [_ending(facts)]
    if row.prefill_state not in ENDS:
        outcome.append("prefill never let go of its prompt")
    for stay in facts.stays:
        if stay["closed_audit"] is None:
            outcome.append(_lasting(stay["pages"], facts.place(stay["pool"])))
    if wrong := sum(read["wrong_pages"] for read in facts.reads):
        outcome.append(f"it read {counted(wrong, 'page')} that held other bytes than its own")
    if departure is None and any(step.rule is not None for step in steps):
        outcome.append("the faults that touched it made no difference")
    elif departure is None:
        outcome.append("nothing in its life is out of the ordinary")
    told = outcome[0] if len(outcome) == 1 else f"{', '.join(outcome[:-1])} and {outcome[-1]}"
    if departure is None:
        return f"It {told}."
    rule = f" (rule {departure.rule!r})" if departure.rule else ""
    blame = departure.blame or f"at {seconds(departure.time_us)} {departure.what}"
    is_well = len(outcome) == 1 and (row.decode_state, row.prefill_state) == _WELL
    return f"It {told}{', although ' if is_well else ': '}{blame}{rule}."


def _ending(facts: RequestFacts) -> str:
    row = facts.row
    if row.decode_state in DECODE_ENDS:
        return f"{DECODE_ENDS[row.decode_state].sentence} at {seconds(row.ended_us)}"
    return "never ended"


def _lasting(pages: int, place: str) -> str:
    if pages > 0:
        return f"{counted(pages, 'page')} on {place} never left the gap"
    return f"{counted(-pages, 'page')} too many stayed free on {place}"


def _facts(facts: RequestFacts) -> tuple[tuple[str, str], ...]:
    row = facts.row
    return (
        ("prefill", f"{row.prefill_pool}, {row.prefill_state}"),
        ("decode", f"{row.decode_pool}, {row.decode_state}"),
        ("bootstrap room", str(row.bootstrap_room)),
        ("prompt", f"{row.input_tokens:,} tokens, {row.prompt_pages:,} pages"),
        ("output", f"{row.output_tokens:,} tokens"),
        ("cycle", str(row.cycle)),
    )


def _rows(
    recording: Recording, table: str, schema: pa.Schema, request_id: str
) -> list[dict[str, Any]]:
    """The rows of one request, reading the table as a stream."""
    rows: list[dict[str, Any]] = []
    for batch in recording.batches(table, schema.names):
        rows += batch.filter(pc.equal(batch["request_id"], request_id)).to_pylist()
    return rows
