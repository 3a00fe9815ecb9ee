"""The states of a request on each side as bars of its lane, from its row of requests.parquet.

A row has the moments at which a request came into its states, -1 for those it never came into. Some
come out of order: a completion that is believed early is taken in before the bytes land. A request
only ever goes on, so a moment that belongs to a state behind it says nothing of where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["prefill", "decode"]
SIDES: tuple[Side, Side] = ("prefill", "decode")


@dataclass(frozen=True, slots=True)
class BarKind:
    """A state as it is drawn: a word that fits a bar, what it means, and whose colour it has."""

    word: str
    meaning: str
    #: A colour variable of the style sheet, without its dashes.
    colour: str


#: State -> how it is drawn, in the order in which a request passes them.
KINDS: dict[Side, dict[str, BarKind]] = {
    "prefill": {
        "bootstrap": BarKind("bootstrap", "waits for decode's pages", "free"),
        "prefill-waiting": BarKind("waiting", "waits for a batch", "cached"),
        "prefilling": BarKind("prefilling", "its prompt is being computed", "running"),
        "offered": BarKind(
            "prefilling", "its prompt is computed, and then waits until decode has pages", "running"
        ),
        "sending": BarKind(
            "sending", "its bytes are on their way, of a long prompt chunk by chunk", "transfer"
        ),
        "in-flight": BarKind("in flight", "all is sent, held until it is acknowledged", "held"),
    },
    "decode": {
        "absent": BarKind("not yet", "is offered by prefill, then waits for pages", "free"),
        "prealloc": BarKind("wants pages", "waits for pages", "free"),
        "transfer": BarKind("has pages", "has pages, and no byte has moved", "protected"),
        "moving": BarKind("bytes move", "its bytes are on their way", "transfer"),
        "landed": BarKind("landed", "all bytes are here, and no completion was taken in", "held"),
        "waiting": BarKind("waiting", "its completion was taken in, waits for a batch", "cached"),
        "running": BarKind("running", "decodes (or was taken out for want of pages)", "running"),
        "deferred": BarKind("given up", "was given up, and its pages are held", "orphaned"),
    },
}

#: How a side ends with a request, in a word; any other state has not ended.
ENDINGS = {
    "finished": "finished",
    "aborted": "aborted",
    "failed": "failed",
    "lost": "forgotten",
    "done": "done",
    "dropped": "dropped",
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
    def kind(self) -> BarKind:
        """How it is drawn."""
        return KINDS[self.side][self.state]


def bars_of(row: Mapping[str, Any], decode_allocates: str, end_us: int) -> tuple[Bar, ...]:
    """The bars of both lanes, prefill's first, each lane in the order of time.

    Args:
        row: of requests.parquet.
        decode_allocates: the profile's field of that name: it says what comes before what.
        end_us: when the recording ends.
    """
    first = decode_allocates == "before-prefill"
    prefill = [
        ("bootstrap" if first else "prefill-waiting", row["arrival_us"]),
        ("prefill-waiting", row["preallocated_us"] if first else -1),
        ("prefilling" if first else "offered", row["prefill_start_us"]),
        ("sending", row["transfer_start_us"]),
        ("in-flight", row["landed_us"]),
    ]
    decode = [
        ("prealloc" if first else "absent", row["arrival_us"]),
        ("transfer", row["preallocated_us"]),
        ("moving", row["transfer_start_us"]),
        ("landed", row["landed_us"]),
        ("waiting", row["consumed_us"]),
        ("running", row["running_us"]),
        ("deferred", row["gave_up_us"]),
    ]
    prefill_end_us = row["prefill_ended_us"] if row["prefill_state"] in ENDINGS else -1
    return (
        *_lane("prefill", prefill, prefill_end_us, end_us),
        *_lane("decode", decode, row["ended_us"], end_us),
    )


def _lane(
    side: Side, moments: Iterable[tuple[str, int]], ended_us: int, end_us: int
) -> Iterable[Bar]:
    """One lane's bars from the moments its states began, in the order a request passes them."""
    known = [(at_us, rank, state) for rank, (state, at_us) in enumerate(moments) if at_us >= 0]
    stop_us = ended_us if ended_us >= 0 else max(end_us, *(at_us for at_us, _, _ in known), 0)
    reached, passed = -1, []
    for at_us, rank, state in sorted(known):
        if rank > reached and at_us < stop_us:
            reached = rank
            passed.append((state, at_us))
    ends = [at_us for _, at_us in passed[1:]] + [stop_us] * bool(passed)
    for (state, start_us), until_us in zip(passed, ends, strict=True):
        if until_us > start_us:
            is_open = ended_us < 0 and until_us == stop_us
            yield Bar(side, state, start_us, until_us, is_open)
