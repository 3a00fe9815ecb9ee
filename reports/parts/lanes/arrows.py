"""The completion events of a request as arrows between its lanes, as sent and as delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from faults.kinds.base import Stage
from faults.kinds.registry import kinds_in
from replay.recording.events import EventFact
from replay.recording.kinds import Outcome
from replay.recording.requests import Side
from replay.recording.words import what_happened

#: What becomes of an event, as it is drawn.
Shape = Literal["arrives", "lost", "late", "never", "again", "astray", "early", "failed", "strike"]

#: Shape -> what is drawn and what it says, for the legend.
SHAPES: dict[Shape, tuple[str, str]] = {
    "arrives": ("arrow", "an event arrives"),
    "lost": ("cross", "an event is lost in transit"),
    "late": ("dashed arrow", "an event is delayed; a dash at its receiver marks when it was due"),
    "never": ("dashed line", "an event is delayed beyond the end of the recording"),
    "again": ("double head", "an event arrives again"),
    "astray": ("question mark", "an event goes elsewhere"),
    "early": ("dotted line", "an event arrives before its bytes, which land where the line ends"),
    "failed": ("bar at the head", "an event reports a failed transfer"),
    "strike": ("diamond", "a client abort or a timeout"),
}

#: The first of these that a delivery bears decides how it is drawn.
_BY_STAGE: dict[Stage, Shape] = {
    Stage.ELSEWHERE: "astray",
    Stage.FAILED: "failed",
    Stage.EARLY: "early",
    Stage.HELD: "late",
}


@dataclass(frozen=True, slots=True)
class Arrow:
    """Deliveries that were sent, due and delivered alike, such as those of several TP ranks."""

    #: Its number in the picture and in the table, from 1.
    number: int
    #: The side it is told to; the other one sends it.
    to: Side
    shape: Shape
    sent_us: int
    due_us: int
    delivered_us: int | None
    fault: str | None
    rules: tuple[str, ...]
    #: The events and copies that are drawn as this one.
    deliveries: tuple[tuple[int, int], ...]
    what: str

    @property
    def moments_us(self) -> tuple[int, ...]:
        """The moments that its drawing needs a place for."""
        if self.shape == "strike":
            return (self.due_us if self.delivered_us is None else self.delivered_us,)
        if self.delivered_us is None:
            return self.sent_us, self.due_us
        moments = {self.sent_us, self.delivered_us}
        return tuple(sorted(moments | ({self.due_us} if self.shape == "late" else set())))

    @property
    def word(self) -> str:
        """What stands beside it: its number, and the fault that acted on it."""
        many = f" \N{MULTIPLICATION SIGN}{len(self.deliveries)}" if len(self.deliveries) > 1 else ""
        return f"{self.number}{many}{f' {self.fault}' if self.fault else ''}"


def arrows_of(events: Sequence[EventFact]) -> tuple[Arrow, ...]:
    """Every delivery of these events in exactly one arrow, in the order in which they were sent."""
    alike: dict[tuple[object, ...], list[EventFact]] = {}
    for event in sorted(events, key=lambda each: (each.sent_us, each.event, each.copy)):
        times = event.sent_us, event.due_us, event.delivered_us
        kind = event.direction, event.is_aimed, event.copy, event.failed
        alike.setdefault((*times, *kind, event.fault, event.rule, event.result), []).append(event)
    return tuple(_arrow(number, group) for number, group in enumerate(alike.values(), start=1))


def _arrow(number: int, group: Sequence[EventFact]) -> Arrow:
    first = group[0]
    more = f" (and {len(group) - 1:,} more like it)" if len(group) > 1 else ""
    return Arrow(
        number=number,
        to="prefill" if first.direction == "prefill" else "decode",
        shape=_shape(first),
        sent_us=first.sent_us,
        due_us=first.due_us,
        delivered_us=first.delivered_us,
        fault=first.fault,
        rules=() if first.rule is None else (first.rule,),
        deliveries=tuple((event.event, event.copy) for event in group),
        what=_what(first) + more,
    )


def _shape(event: EventFact) -> Shape:
    if event.is_aimed:
        return "strike"
    if event.outcome is Outcome.LOST:
        return "lost"
    if event.delivered_us is None:
        return "never"
    if event.copy:
        return "again"
    stages = {kind.stage for kind in kinds_in(event.fault)}
    for stage, shape in _BY_STAGE.items():
        if stage in stages and not (shape == "late" and event.delivered_us <= event.due_us):
            return shape
    return "failed" if event.failed else "arrives"


def _what(event: EventFact) -> str:
    """What happened to it, and whether that made any difference."""
    words = what_happened(event)
    is_told = event.rule is None or event.outcome in (Outcome.IGNORED, Outcome.MISSED)
    no_difference = event.rule is not None and event.observed is False
    return f"{words}; no engine could see a difference" if no_difference and not is_told else words
