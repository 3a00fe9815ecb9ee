"""A life: what happened to one request or one page, step by step.

Steps are ordered by time, and at one time by the order in which things happen in an engine:

    arrival - bytes land - events are sent - delivered - states, pages - reads - end - audits
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

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
