"""Who and what a case is about: a first guess at what it can do without, and the hits of its rules."""

from __future__ import annotations

from dataclasses import dataclass

from replay.recording.kinds import Outcome
from replay.shrink.case import Case
from replay.shrink.in_memory import MemoryRecording, replay_in_memory
from replay.verdict.episodes import worst_episode
from replay.verdict.judge import Verdict


@dataclass(frozen=True, slots=True)
class Hit:
    """One event that a rule did something to; ranks are -1 where a request itself was hit."""

    rule: str
    request_id: str
    direction: str
    prefill_tp_rank: int
    decode_tp_rank: int


@dataclass(frozen=True, slots=True)
class Involved:
    """What a replay of a case shows.

    Attributes:
        suspects: requests in the worst gap, with wrong contents, or never ended; the first that
            is suspect comes first.
        owners: those in the worst gap when it was as wide as the mismatch says.
        touched: requests that a rule has hit.
        when_us: when the worst of it began.
        hits: every hit of every rule.
        events: completion events of each request and direction, as pairs of TP ranks.
    """

    suspects: tuple[str, ...]
    owners: frozenset[str]
    touched: frozenset[str]
    when_us: int
    hits: tuple[Hit, ...]
    events: dict[tuple[str, str], frozenset[tuple[int, int]]]


def who_is_involved(case: Case) -> Involved:
    """Replay a case and look who is involved."""
    recording, verdict = replay_in_memory(case.to_request())
    suspects, when_us = _suspects(recording, verdict)
    hits, events = _hits(recording, {rule.name for rule in case.rules})
    in_trace = {row.request_id for row in case.requests}
    return Involved(
        tuple(name for name in dict.fromkeys(suspects) if name in in_trace),
        _owners(verdict) & in_trace,
        frozenset(hit.request_id for hit in hits),
        when_us,
        hits,
        events,
    )


def _suspects(recording: MemoryRecording, verdict: Verdict) -> tuple[list[str], int]:
    suspects: list[str] = []
    times_us: list[int] = []
    for row in recording.tables["contents"].to_pylist():
        suspects.append(row["request_id"])
        times_us.append(row["time_us"])
    worst = worst_episode(verdict.episodes)
    if worst is not None:
        suspects += [owner.request_id for owner in worst.owners]
        times_us.append(worst.opened_us)
    for row in recording.table("requests").to_pylist():
        if row["ended_us"] is None:
            suspects.append(row["request_id"])
            times_us.append(row["arrival_us"])
    died_us = verdict.summary["engine_died_us"]
    times_us += [died_us] if died_us is not None else []
    return suspects, min(times_us, default=0)


def _owners(verdict: Verdict) -> frozenset[str]:
    """Who was in the worst gap at the audit that the mismatch is of."""
    worst, mismatch = worst_episode(verdict.episodes), verdict.summary["mismatch"]
    if worst is None or mismatch is None:
        return frozenset()
    audit = mismatch["audit"]
    return frozenset(
        owner.request_id
        for owner in worst.owners
        if owner.opened_audit <= audit
        and (owner.closed_audit is None or audit < owner.closed_audit)
    )


def _hits(
    recording: MemoryRecording, rules: set[str]
) -> tuple[tuple[Hit, ...], dict[tuple[str, str], frozenset[tuple[int, int]]]]:
    columns = (
        "request_id",
        "direction",
        "prefill_tp_rank",
        "decode_tp_rank",
        "rule",
        "observed",
        "outcome",
    )
    table = recording.table("events").select(columns)
    found: dict[Hit, None] = {}
    events: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for row in table.to_pylist():
        request_id, direction = row["request_id"], row["direction"]
        pair = (row["prefill_tp_rank"], row["decode_tp_rank"])
        is_event = pair[0] >= 0
        if is_event:
            events.setdefault((request_id, direction), set()).add(pair)
        if row["rule"] is None or (not is_event and row["outcome"] == Outcome.MISSED):
            continue
        for name in _names(row["rule"], rules):
            found[Hit(name, request_id, direction, *pair)] = None
    return tuple(found), {about: frozenset(pairs) for about, pairs in events.items()}


def _names(joined: str, rules: set[str]) -> list[str]:
    """The rules of an event, which its row names one after the other."""
    return [joined] if joined in rules else [each for each in joined.split(" + ") if each in rules]
