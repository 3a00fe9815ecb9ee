"""The lives of the guilty requests of the worst episode, as a report shows them.

They are told from the recording's tables alone; `kvreplay explain` replays it to tell more.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from replay.explain.life import Life, shown_steps
from replay.explain.request_life import RequestFacts, request_life
from replay.explain.subject import guilty_requests
from replay.recording.events import EventFact, as_sent
from replay.recording.requests import RequestRow
from reports.evidence import Evidence
from reports.parts.base import Part
from reports.words import number, plain_seconds, shown

#: Lives that one report tells, and steps of each.
LIVES_MAX = 3
STEPS_MAX = 60


@dataclass(frozen=True, slots=True)
class LifeLine:
    """One step as a row: how it is marked, when, where, what, and where the recording has it."""

    #: "blame" for the first departure from a healthy life, "departs" for others, else empty.
    mark: str
    time: str
    where: str
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class ShownLife:
    """The life of one request."""

    name: str
    headline: str
    lines: tuple[LifeLine, ...]
    shown: str
    #: The line that tells more of it.
    explain: str


@dataclass(frozen=True, slots=True)
class Lives:
    """The lives that are shown, and of how many."""

    lives: tuple[ShownLife, ...]
    shown: str


def make_lives(evidence: Evidence) -> Lives | None:
    """The lives of the first guilty requests of the worst episode; None where there are none."""
    if (worst := evidence.worst) is None or not (guilty := guilty_requests(worst)):
        return None
    told = tuple(_life(evidence, request_id) for request_id in guilty[:LIVES_MAX])
    return Lives(told, shown(len(told), len(guilty)))


def _life(evidence: Evidence, request_id: str) -> ShownLife:
    life = request_life(_facts(evidence, request_id))
    steps = shown_steps(life, STEPS_MAX)
    line = f"kvreplay explain {shlex.quote(evidence.name)} --request {shlex.quote(request_id)}"
    return ShownLife(
        name=request_id,
        headline=life.headline,
        lines=tuple(_line(life, at) for at in steps),
        shown=shown(len(steps), len(life.steps)),
        explain=line,
    )


def _line(life: Life, at: int) -> LifeLine:
    step = life.steps[at]
    what = f"{step.request_id}: {step.what}" if step.request_id else step.what
    source = [f"rule {step.rule}"] if step.rule is not None else []
    source += [f"event {number(step.event)}"] if step.event is not None else []
    source += [f"copy {number(step.copy)}"] if step.copy else []
    source += [f"audit {number(step.audit)}"] if step.audit is not None else []
    mark = "blame" if at == life.blame else "departs" if step.departs else ""
    return LifeLine(mark, plain_seconds(step.time_us, 6), step.where, what, ", ".join(source))


def _facts(evidence: Evidence, request_id: str) -> RequestFacts:
    """What the tables that are in memory already hold of a request."""
    stays, reads = (
        evidence.rows(name, "request_id", request_id).to_pylist() for name in ("owners", "contents")
    )
    events = evidence.tables["events"]
    mine = as_sent(EventFact.of_rows(evidence.rows("events", "request_id", request_id)))
    own = {event.event for event in mine}
    named = {read["event"] for read in reads if read["event"] is not None} - own
    others = pc.is_in(events["event"], pa.array(sorted(named), pa.int64()))
    profile = evidence.run["profile"]
    (row,) = RequestRow.of_rows(evidence.rows("requests", "request_id", request_id))
    return RequestFacts(
        request_id=request_id,
        row=row,
        events=mine,
        events_of_others=as_sent(EventFact.of_rows(events.filter(others))),
        stays=tuple(stays),
        reads=tuple(reads),
        end_us=evidence.end_us,
        instances={side: profile[f"{side}_instances"] for side in ("prefill", "decode")},
    )


LIVES = Part("lives", lambda context: make_lives(context.evidence), link="Owners step by step")
