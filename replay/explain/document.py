"""A life as a JSON document, schema `kvreplay.life/1`.

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

from collections.abc import Sequence
from typing import Any

from replay.explain.steps import STEPS_MAX, Life, Step, shown_steps

LIFE_SCHEMA = "kvreplay.life/1"


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
