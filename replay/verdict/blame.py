"""A gap in one plain sentence, and the evidence for it.

The sentence says whose pages, where, what did it, and why it stays or how it ended. The evidence is
the audits that open and close the gap, its owners, and the events behind it; its lists are bounded
and say how long they would be, and the tables of the recording have all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay.recording.events import EventFact, read_events
from replay.recording.reader import Recording
from replay.recording.tables import NOBODY_NAME
from replay.recording.words import (
    counted,
    place_words,
    seconds,
    what_a_fault_did,
    what_happened,
)
from replay.verdict.episodes import Episode, Owner

#: Owners, and steps of a chain, that a summary lists.
LISTED_MAX = 20

#: Kind -> words for pages that are still in that state, and why they stay.
_OPEN = {
    "stuck": ("stuck", "and nothing is left that could end it"),
    "held": ("still held", "and the heal budget ended before it did"),
    "orphaned": ("orphaned", "and the engine forgot whose they are without releasing them"),
    "cache-held": ("locked in the prefix cache", "and nothing is left that could unlock them"),
    "over-freed": ("free twice", "and a page that is listed twice stays listed twice"),
    "counter-drift": ("miscounted", "and no counter is ever set right"),
}


def blame(run: dict[str, Any], episode: Episode) -> str:
    """Owners of a gap, the event that opened it, and how it ended, if it did.

    Args:
        run: run.json of the recording.
        episode: one of its gaps.
    """
    owners = owners_that_count(episode)
    gap_tokens = episode.last_gap_tokens if episode.is_open else episode.gap_tokens
    pages = abs(gap_tokens) // run["profile"]["page_size"]
    names = {owner.request_id for owner in owners}
    whose = f" of {counted(len(names), 'request')}" if names - {NOBODY_NAME} else ""
    side = "prefill" if episode.pool.startswith("prefill") else "decode"
    where = place_words(episode.pool, run["profile"][f"{side}_instances"])
    what, ending = _open_words(run, episode) if episode.is_open else _closed_words(episode, owners)
    verb = ("is" if pages == 1 else "are") if episode.is_open else ("was" if pages == 1 else "were")
    at_most = "" if episode.is_open or len(owners) == 1 else "at most "
    subject = f"{at_most}{counted(pages, 'page')}{whose} on {where} {verb} {what}"
    return f"{subject}: {_cause(episode, owners)}{ending}"


def owners_that_count(episode: Episode) -> tuple[Owner, ...]:
    """Of an open gap the stays that are in it still, of a closed one all."""
    if not episode.is_open:
        return episode.owners
    return tuple(owner for owner in episode.owners if owner.closed_audit is None)


def first_cause(episode: Episode) -> EventFact | None:
    """The event to name: the first that an engine could see, of an owner that counts.

    Of several deliveries of it the one that should not have been. Pages that still wait are not put
    down to an event that came after all, where another never did.
    """
    names = {owner.request_id for owner in owners_that_count(episode)}
    mine = [event for event in episode.causes if event.request_id in names]
    # Waiting pages wait for a completion; an abort can only explain lost or freed pages.
    waits = episode.worst_kind in ("stuck", "held", "cache-held")
    return min(
        mine or episode.causes,
        key=lambda event: (
            not event.observed,
            event.is_aimed is waits,
            waits and episode.is_open and not _never_came(event),
            event.sent_us,
            event.event,
            -event.copy,
        ),
        default=None,
    )


def _cause(episode: Episode, owners: Sequence[Owner]) -> str:
    event = first_cause(episode)
    if event is None:
        if not owners or owners[0].request_id == NOBODY_NAME:
            return f"no request explains what changed at {seconds(episode.opened_us)}"
        return (
            f"no fault touched {'it' if len(owners) == 1 else 'them'}, "
            f"{'its' if len(owners) == 1 else 'the first'} request was in state {owners[0].state} "
            f"at {seconds(owners[0].opened_us)}"
        )
    others = len(set(episode.cause_numbers) - {event.event})
    is_first = all(event.sent_us <= each.sent_us for each in episode.causes)
    which = "the first" if is_first else "one"
    more = f" ({which} of {others + 1} events that faults touched)" if others else ""
    return what_a_fault_did(event) + more


def _never_came(event: EventFact) -> bool:
    """Whether its receiver got nothing; for a copy, the first delivery may have arrived."""
    return event.copy == 0 and (event.failed or not event.was_taken)


def _open_words(run: dict[str, Any], episode: Episode) -> tuple[str, str]:
    kind = episode.worst_kind
    what, ending = _OPEN[kind]
    clock = "acknowledgement" if episode.pool.startswith("prefill") else "completion"
    if kind == "stuck" and run["profile"][f"{clock}_timeout_us"] is None:
        ending = "and nothing ever times it out"
    if kind == "held":
        ending = f"{ending} ({seconds(run['options']['heal_budget_us'])})"
    return what, f", {ending}"


def _closed_words(episode: Episode, owners: Sequence[Owner]) -> tuple[str, str]:
    assert episode.closed_us is not None
    what = {"held": "held", "cache-held": "locked in the prefix cache", "over-freed": "free twice"}
    lasted = seconds(episode.closed_us - episode.opened_us)
    how = next((owner.ended_by for owner in reversed(owners) if owner.ended_by), None)
    ended = f", the last request being {how} then" if how else ""
    late = ", only after healing had ended" if episode.closed_too_late else ""
    closed = seconds(episode.closed_us)
    words = f"{what.get(episode.worst_kind, 'unaccounted for')} for {lasted}"
    return words, f"; every page was accounted for again at {closed}{ended}{late}"


def episode_rows(run: dict[str, Any], episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """One row for each, with the columns of `EPISODES_SCHEMA`."""
    return [
        {
            "episode": episode.number,
            "pool": episode.pool,
            "direction": episode.direction,
            "verdict": episode.verdict,
            "growth": episode.growth,
            "blame": blame(run, episode),
            "kinds": ", ".join(f"{kind} {pages}" for kind, pages in episode.kinds.items()),
            "opened_audit": episode.opened_audit,
            "opened_us": episode.opened_us,
            "closed_audit": episode.closed_audit,
            "closed_us": episode.closed_us,
            "widest_audit": episode.widest_audit,
            "gap_tokens": episode.gap_tokens,
            "quiet_gap_tokens": episode.quiet_gap_tokens,
            "owners": len({owner.request_id for owner in episode.owners}),
            "causes": list(episode.cause_numbers),
        }
        for episode in episodes
    ]


def evidence_of(recording: Recording, episode: Episode) -> dict[str, Any]:
    """What one episode's verdict rests on, as summary.json has it.

    Its keys: `episode`, `pool`, `opened`, `widest` and `closed` (rows of audits.parquet, the last
    None while it is open), `owners` (the most pages first) of `owners_total`, and `chain` of
    `chain_total`: what happened to the first guilty request's completion events, in order.

    Raises:
        RecordingError: a table is missing or broken.
    """
    rows = recording.audit_rows(
        [episode.opened_audit, episode.widest_audit]
        + ([] if episode.closed_audit is None else [episode.closed_audit])
    )
    owners = owners_that_count(episode)
    largest = sorted(
        owners, key=lambda owner: (-abs(owner.pages), owner.opened_us, owner.request_id)
    )
    chain = _chain(recording, episode)
    return {
        "episode": episode.number,
        "pool": episode.pool,
        "opened": rows[episode.opened_audit],
        "widest": rows[episode.widest_audit],
        "closed": None if episode.closed_audit is None else rows[episode.closed_audit],
        "owners": [
            {
                "request_id": owner.request_id,
                "pages": owner.pages,
                "kind": owner.kind,
                "state": owner.state,
                "opened_us": owner.opened_us,
                "ended_by": owner.ended_by,
            }
            for owner in largest[:LISTED_MAX]
        ],
        "owners_total": len(owners),
        "chain": chain[:LISTED_MAX],
        "chain_total": len(chain),
    }


def _chain(recording: Recording, episode: Episode) -> list[dict[str, Any]]:
    """From the cause to the gap: one request's events, and its pages coming into the gap and out."""
    cause, owners = first_cause(episode), owners_that_count(episode)
    names = {owner.request_id for owner in owners}
    if cause is not None and (cause.request_id in names or not owners):
        guilty = cause.request_id
    elif owners:
        guilty = owners[0].request_id
    else:
        return []
    steps: list[tuple[int, int, int | None, str]] = [
        (event.came_us, 0, event.event, what_happened(event))
        for event in read_events(recording, {guilty}).get(guilty, ())
    ]
    for owner in episode.owners:
        if owner.request_id == guilty:
            what = (
                f"{abs(owner.pages)} pages of {guilty} are {owner.kind}, audit {owner.opened_audit}"
            )
            steps.append((owner.opened_us, 1, None, what))
    if episode.closed_us is not None:
        what = f"the gap is closed, audit {episode.closed_audit}"
        steps.append((episode.closed_us, 2, None, what))
    steps.sort(key=lambda step: step[:2])
    return [
        {"time_us": time_us, "request_id": guilty, "event": event, "what": what}
        for time_us, _, event, what in steps
    ]
