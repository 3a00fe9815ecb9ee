"""Blocks of what no gap shows: wrong bytes and owners, requests that never end, false alarms."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.events import read_events, read_numbered_events
from replay.recording.reader import Recording
from replay.recording.words import seconds
from replay.verdict.blame_without_gap import blame_wrong_owners, never_ended_words, wrong_read_words
from replay.verdict.findings.categories import NEVER_ENDED, RELEASED_BY_ANOTHER, category_of
from replay.verdict.findings.finding import ALL_POOLS, Block
from replay.verdict.findings.gaps import faults_of, rules_of
from replay.verdict.oracles import DECODE_ENDED, PREFILL_ENDED, Findings

_OF_REQUESTS = (
    "request_id", "cycle", "arrival_us", "prefill_state", "decode_state", "prefill_pool",
    "decode_pool",
)  # fmt: skip

#: Blocks, each with the sentence that blames somebody for it.
Told = list[tuple[Block, str]]


def blocks_of_contents(recording: Recording) -> Told:
    """Reads of other bytes than the reader's own: of each request's the worst, as a verdict counts."""
    rows = recording.table("contents").to_pylist()
    worst: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = worst.get(row["request_id"])
        if before is None or _size(row) > _size(before):
            worst[row["request_id"]] = row
    reads = [(row, row["kind"], row["wrong_pages"]) for row in worst.values() if row["wrong_pages"]]
    reads += [(row, "stale-write", 1) for row in rows if row["wrong_first_token"]]
    numbers = {row["event"] for row, _, _ in reads if row["event"] is not None}
    events = {fact.event: fact for fact in read_numbered_events(recording, numbers) if fact.rule}
    told = []
    for row, kind, pages in reads:
        event = events.get(row["event"])
        block = Block(
            category=category_of(kind, pages, can_end=False),
            kind=kind,
            pool=row["pool"],
            request_id=row["request_id"],
            pages=pages,
            lasts=True,
            faults=faults_of(event),
            rules=rules_of(event),
            opened_us=row["time_us"],
        )
        told.append((block, wrong_read_words(row)))
    return told


def _size(row: dict[str, Any]) -> tuple[int, str]:
    return row["wrong_pages"], row["kind"]


def blocks_of_ledger(recording: Recording, findings: Findings, over_freed_pages: int) -> Told:
    """What the page ledger has counted, for it names neither pools nor owners.

    Pages released by another than their owner are told where the gaps do not already have them.
    """
    kinds = findings.ledger_kinds()
    released = findings.ledger.released_by_another
    if released and not over_freed_pages:
        kinds = kinds | {RELEASED_BY_ANOTHER: released}
    if not kinds:
        return []
    journal = recording.run["faults"]["rules"]
    rules = tuple(sorted(name for name, rule in journal.items() if rule["observed"]))
    faults = {
        rule["fault"] for rule in recording.run["plan"]["rules"] if rule["name"] in set(rules)
    }
    sentence = blame_wrong_owners(recording)
    return [
        (
            Block(
                category=category_of(kind, pages, can_end=False),
                kind=kind,
                pool=ALL_POOLS,
                request_id=None,
                pages=pages,
                lasts=True,
                faults=tuple(sorted(faults)),
                rules=rules,
            ),
            sentence,
        )
        for kind, pages in sorted(kinds.items())
    ]


def blocks_of_false_alarm(run: dict[str, Any], findings: Findings) -> Told:
    """The engine's own check, fired on a sound pool."""
    if not findings.false_alarm_pages:
        return []
    time_us = findings.false_alarm_us
    block = Block(
        category="false alarm",
        kind="check-false-alarm",
        pool=findings.false_alarm_pool or ALL_POOLS,
        request_id=None,
        pages=findings.false_alarm_pages,
        lasts=False,
        opened_us=time_us,
        closed_us=time_us,
    )
    died = f": {run['engine']['died_message']}" if run["engine"]["died_message"] else ""
    when = "" if time_us is None else f" at {seconds(time_us)}"
    return [(block, f"the engine's own check fired{when} though every page had a live owner{died}")]


def blocks_of_never_ended(recording: Recording, in_gap: set[str]) -> Told:
    """Requests that a side is not done with and that hold no page of a gap that stays."""
    waiting: list[dict[str, Any]] = []
    for batch in recording.batches("requests", _OF_REQUESTS):
        ended = pc.and_(
            pc.is_in(batch["decode_state"].cast(pa.string()), pa.array(DECODE_ENDED)),
            pc.is_in(batch["prefill_state"].cast(pa.string()), pa.array(PREFILL_ENDED)),
        )
        waiting += batch.filter(pc.invert(ended)).to_pylist()
    waiting = [row for row in waiting if row["request_id"] not in in_gap]
    waiting.sort(key=lambda row: (row["arrival_us"], row["request_id"]))
    names = {row["request_id"] for row in waiting}
    events = read_events(recording, names, touched_only=True)
    told = []
    for row in waiting:
        touched = events.get(row["request_id"], ())
        first = touched[0] if touched else None
        on_decode = row["decode_state"] not in DECODE_ENDED
        can_end = _can_end(recording.run, row["cycle"])
        block = Block(
            category=category_of(NEVER_ENDED, 0, can_end),
            kind=NEVER_ENDED,
            pool=row["decode_pool"] if on_decode else row["prefill_pool"],
            request_id=row["request_id"],
            pages=0,
            lasts=True,
            state=row["decode_state"] if on_decode else row["prefill_state"],
            faults=faults_of(first),
            rules=rules_of(first),
            opened_us=row["arrival_us"],
        )
        states = row["prefill_state"], row["decode_state"]
        told.append((block, never_ended_words(row["request_id"], *states, touched)))
    return told


def _can_end(run: dict[str, Any], cycle: int) -> bool:
    """Whether the replay ended before such a request could, by the rules of the verdict."""
    ended_early = run["pending_at_end"] if cycle else run["budget_exhausted"]
    return bool(run["stopped_early"] or ended_early)
