"""Everything that the tables of a recording hold about one request."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.errors import RecordingError
from replay.recording.events import EventFact, read_events, read_numbered_events
from replay.recording.reader import Recording
from replay.recording.requests import RequestRow
from replay.recording.tables import CONTENTS_SCHEMA, OWNERS_SCHEMA, REQUESTS_SCHEMA
from replay.recording.words import place_words

#: Request ids that a message names.
_NAMED_MAX = 3
#: Characters of an id that a message shows.
_ID_CHARACTERS_MAX = 80


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
        end_us=end_of(recording),
        instances={
            side: recording.run["profile"][f"{side}_instances"] for side in ("prefill", "decode")
        },
    )


def end_of(recording: Recording) -> int:
    """When the replay ended, in virtual microseconds."""
    return max((phase["end_us"] for phase in recording.run["phases"]), default=0)


def instances_beside(recording: Recording, pool: str) -> int:
    """How many servers there are on the side of a pool."""
    count: int = recording.run["profile"][f"{side_of(pool)}_instances"]
    return count


def side_of(pool: str) -> str:
    """The side of a pool by its name: prefill or decode."""
    return "prefill" if pool.startswith("prefill") else "decode"


def find_request(recording: Recording, wanted: str) -> str:
    """The request that is called so, or the only one whose id begins so.

    Raises:
        RecordingError: there is none, or several begin so; the message names some.
    """
    # What a terminal gives need not be text.
    wanted = wanted.encode(errors="backslashreplace").decode()
    beginnings: list[str] = []
    count = 0
    nearest: list[tuple[int, int, str]] = []
    for batch in recording.batches("requests", ("request_id",)):
        ids = batch["request_id"]
        begins = ids.filter(pc.starts_with(ids, wanted))
        if wanted in (found := begins.to_pylist()):
            return wanted
        count += len(found)
        beginnings += found[: _NAMED_MAX + 1]
        if not count:
            likely = ((*_likeness(each, wanted), each) for each in ids.to_pylist())
            nearest = heapq.nlargest(_NAMED_MAX, (*nearest, *likely))
    if count == 1:
        return beginnings[0]
    if count:
        raise RecordingError(
            f"{recording.directory}: {count} requests begin with {shown_id(wanted)}: "
            f"{_listed(sorted(beginnings), count)}; name one of them whole"
        )
    near = _listed([each for _, _, each in nearest], len(nearest))
    raise RecordingError(
        f"{recording.directory}: has no request {shown_id(wanted)}; "
        + (f"the nearest are {near}" if near else "it has no requests at all")
    )


def shown_id(request_id: str) -> str:
    """An id as messages show it: whole unless it is very long."""
    if len(request_id) <= _ID_CHARACTERS_MAX:
        return repr(request_id)
    return f"{request_id[:_ID_CHARACTERS_MAX]!r}... ({len(request_id):,} characters)"


def _likeness(each: str, wanted: str) -> tuple[int, int]:
    """How long a beginning two ids share, and how little their lengths differ."""
    pairs = zip(each, wanted, strict=False)
    shared = next((at for at, (mine, other) in enumerate(pairs) if mine != other), None)
    length = min(len(each), len(wanted)) if shared is None else shared
    return length, -abs(len(each) - len(wanted))


def _listed(ids: list[str], count: int) -> str:
    named = ", ".join(shown_id(each) for each in ids[:_NAMED_MAX])
    return f"{named}, ..." if count > _NAMED_MAX else named


def _rows(
    recording: Recording, table: str, schema: pa.Schema, request_id: str
) -> list[dict[str, Any]]:
    """The rows of one request, reading the table as a stream."""
    rows: list[dict[str, Any]] = []
    for batch in recording.batches(table, schema.names):
        rows += batch.filter(pc.equal(batch["request_id"], request_id)).to_pylist()
    return rows
