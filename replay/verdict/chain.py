"""What a verdict rests on: the audits that open and close a gap, its owners, and the events behind it.

Lists are bounded, and say how long they would be; the tables of the recording hold all of it.
"""

from __future__ import annotations

from typing import Any

from replay.recording.events import read_events
from replay.recording.reader import Recording
from replay.recording.words import what_happened
from replay.verdict.blame import first_cause, owners_that_count
from replay.verdict.episodes import Episode

#: Owners, and steps of a chain, that a summary lists.
LISTED_MAX = 20


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
