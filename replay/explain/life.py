"""A life: what happened to one request or one page, step by step, and the same as JSON.

Steps are ordered by time, and at one time by the order in which things happen in an engine:

    arrival - bytes land - events are sent - delivered - states, pages - reads - end - audits

The document has the schema `kvreplay.life/1`:

    {"schema": "kvreplay.life/1", "recording": "DIR",
     "subject": {"kind": "request", "name": "r17"},     or {"kind": "page", "name": "decode0/dp3:412"}
     "chosen": null,            why it is this request, where none was asked for
     "headline": "...",         one sentence: what became of it, and what went wrong first
     "blame": 9,                `step` of the first departure from a healthy life; null: there is none
     "source": "replay",        or "recording": then states and pages are only as fine as its tables
     "note": null,              what could not be said, and why
     "facts": {"prefill": "prefill0/dp0, done", ...},
     "steps_total": 21,         `steps` has fewer where that is more than was asked for
     "steps": [{"step": 0, "time_us": 0, "kind": "arrival", "where": "", "what": "arrives: ...",
                "departs": false, "fault": null, "rule": null, "event": null, "copy": null,
                "audit": null, "request_id": null, "pages": null, "page_ranges": []}]}

`time_us` is virtual; `where` is a pool, or "prefill" or "decode"; `departs` marks what a healthy life does not
have. `event` and `copy` are those of events.parquet, `audit` that of audits.parquet. `request_id` names
whose step it is, where that is not the subject. `page_ranges` are [first, last] pairs of page numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

LIFE_SCHEMA = "kvreplay.life/1"

#: Steps of a life that are shown unless somebody asks for more.
STEPS_MAX = 200

StepKind = Literal[
    "arrival", "state", "pages", "bytes", "sent", "delivered", "aimed", "gap", "read", "end"
]


class Order(IntEnum):
    """Which of two steps at one time comes first."""

    ARRIVAL = 0
    BEFORE = 1
    SENT = 2
    DELIVERED = 3
    READ = 4
    AFTER = 5
    END = 6
    GAP = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a life. Times are virtual microseconds."""

    time_us: int
    order: Order
    kind: StepKind
    #: The pool where it happened, such as decode0/dp3.
    where: str
    what: str
    #: The same as the rest of a sentence that says what went wrong, where `what` is not that.
    blame: str = ""
    #: Whether a healthy life has no such step.
    departs: bool = False
    fault: str | None = None
    rule: str | None = None
    event: int | None = None
    copy: int | None = None
    audit: int | None = None
    #: Whose step it is, where that is not the request whose life this is.
    request_id: str | None = None
    #: How many pages it is about, and which where that is known.
    pages: int | None = None
    page_numbers: tuple[int, ...] = ()
    #: The true order of what a watched replay saw at one time.
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The life of a request or of a page."""

    subject: Literal["request", "page"]
    #: A request's id, or `POOL:NUMBER`.
    name: str
    headline: str
    #: What is known of the whole of it, as name and value.
    facts: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    #: The first step at which it departs from a healthy life, None when none does.
    blame: int | None
    #: What the steps are from: the tables alone, or a replay that was watched.
    source: Literal["recording", "replay"] = "recording"
    #: What could not be said and why, or how the subject was chosen; empty when there is nothing.
    note: str = ""
    chosen: str = ""


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps in the order in which they happened; equal ones stay as they are given."""
    return tuple(sorted(steps, key=lambda step: (step.time_us, step.order, step.sequence)))


def first_departure(steps: tuple[Step, ...]) -> int | None:
    """Where the life departs from a healthy one."""
    return next((at for at, step in enumerate(steps) if step.departs), None)


def shown_steps(life: Life, steps_max: int = STEPS_MAX) -> tuple[int, ...]:
    """Which steps to show when there are too many: the first, the last, and those about the blame.

    Args:
        life: whose steps.
        steps_max: at most so many; 0 shows all.
    """
    count = len(life.steps)
    if not steps_max or count <= steps_max:
        return tuple(range(count))
    centre = count - 1 if life.blame is None else life.blame
    quarter = steps_max // 4
    kept = {centre, *range(quarter), *range(count - quarter, count)}
    for distance in range(1, count):
        for at in (centre - distance, centre + distance):
            if 0 <= at < count and len(kept) < steps_max:
                kept.add(at)
        if len(kept) >= steps_max:
            break
    return tuple(sorted(kept)[:steps_max])


def life_document(life: Life, recording: str, steps_max: int = STEPS_MAX) -> dict[str, Any]:
    """The document; at most so many steps, 0 for all."""
    return {
        "schema": LIFE_SCHEMA,
        "recording": recording,
        "subject": {"kind": life.subject, "name": life.name},
        "chosen": life.chosen or None,
        "headline": life.headline,
        "blame": life.blame,
        "source": life.source,
        "note": life.note or None,
        "facts": dict(life.facts),
        "steps_total": len(life.steps),
        "steps": [_step(at, life.steps[at]) for at in shown_steps(life, steps_max)],
    }


def page_ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Page numbers as (first, last) of each stretch, least first."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ranges


def _step(at: int, step: Step) -> dict[str, Any]:
    return {
        "step": at,
        "time_us": step.time_us,
        "kind": step.kind,
        "where": step.where,
        "what": step.what,
        "departs": step.departs,
        "fault": step.fault,
        "rule": step.rule,
        "event": step.event,
        "copy": step.copy,
        "audit": step.audit,
        "request_id": step.request_id,
        "pages": step.pages,
        "page_ranges": [list(each) for each in page_ranges(step.page_numbers)],
    }
