"""The verdict: a pure function of a recording.

    clean          no gap in any audit, no wrong bytes, every request ended
    transient      every gap closed before the heal budget ended
    persistent     a gap was still open after healing (or bytes were wrong, or a request never ended)
    inconclusive   the budget ended while something could still close a gap, or a rule never fired

Nothing but the recording's tables and run.json is read, in the order of their audit numbers, so the
verdict does not depend on row groups or on how the tables were written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.audit_series import AuditSeries, read_audits
from replay.episodes import Episode, faulted_events, find_episodes, read_owners
from replay.messages import PoolCounts, token_pool_message
from replay.recording import Recording
from replay.recording_schema import SUMMARY_SCHEMA

#: Repeat cycles needed before growth can be told from a one-off.
GROWTH_CYCLES_MIN = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a recording means: the summary and its episodes."""

    summary: dict[str, Any]
    episodes: tuple[Episode, ...]


def judge(recording: Recording) -> Verdict:
    """Find the episodes of a recording and give its verdict."""
    audits = read_audits(recording)
    owners = read_owners(recording.table("owners"))
    faulted = faulted_events(recording.batches("events", ("event", "pool", "request_id", "rule")))
    episodes = find_episodes(audits.spans, owners, faulted)
    requests = _count_requests(recording.batches("requests", ("cycle", "decode_state")))
    wrong_pages = _count_wrong_pages(recording.table("contents"))
    run = recording.run
    verdict, why = _verdict(run, episodes, _last_audit_of_healing(audits), requests, wrong_pages)
    worst = worst_episode(episodes)
    mismatch = None if worst is None else _mismatch(recording, worst)
    summary = {
        "schema": SUMMARY_SCHEMA,
        "verdict": verdict,
        "why": why,
        "growth": _growth(run, audits),
        "direction": None if worst is None else worst.direction,
        "kinds": _kinds(episodes, wrong_pages),
        "mismatch": mismatch,
        "final_gap": _final_gap(run, audits),
        "engine_message": _engine_message(run, mismatch),
        "engine_check_fired": run["engine"]["check_fired"],
        "engine_died_us": run["engine"]["died_us"],
        "engine_died_message": run["engine"]["died_message"],
        "episodes": len(episodes),
        "episodes_open": sum(episode.is_open for episode in episodes),
        "faults": run["faults"]["totals"],
        "requests": requests,
        "oracles": {
            "count": len(episodes),
            "ledger": run["oracles"]["ledger_violations"],
            "contents": wrong_pages,
            "liveness": requests["stuck"],
        },
        "audits": audits.rows,
        "iterations": audits.iterations,
        "virtual_us": max((phase["end_us"] for phase in run["phases"]), default=0),
        "reproduce": run["reproduce"],
    }
    return Verdict(summary, episodes)


def _verdict(
    run: dict[str, Any],
    episodes: tuple[Episode, ...],
    healed: int,
    requests: dict[str, int],
    wrong_pages: int,
) -> tuple[str, str]:
    """The verdict and one sentence that says why; `healed` is the last audit of the heal phase."""
    never_fired = run["faults"]["totals"]["never_fired"]
    if run["stopped_early"]:
        return "persistent" if _any_stuck(episodes) else "inconclusive", (
            "the replay stopped where the engine would have died"
        )
    # What a repeat cycle closes was still open when healing ended: it came too late to count.
    open_ones = [
        episode
        for episode in episodes
        if episode.closed_audit is None or episode.opened_audit <= healed < episode.closed_audit
    ]
    if wrong_pages:
        return "persistent", f"decode read {wrong_pages} pages that held other bytes than its own"
    if _any_stuck(tuple(open_ones)):
        pages = sum(
            abs(owner.pages)
            for episode in open_ones
            for owner in episode.owners
            if owner.closed_audit is None
        )
        return (
            "persistent",
            f"{pages} pages were still unaccounted for when nothing was left to come",
        )
    if open_ones:
        return "inconclusive", "the heal budget ended before what is under way could close the gap"
    if requests["stuck"]:
        if run["budget_exhausted"]:
            return "inconclusive", "the heal budget ended while requests were still under way"
        return (
            "persistent",
            f"{requests['stuck']} requests never ended, although no page is missing",
        )
    if never_fired:
        names = ", ".join(repr(name) for name in run["faults"]["never_fired"])
        return "inconclusive", f"nothing was tested: the rule {names} never fired"
    if not requests["total"]:
        return "inconclusive", "nothing was tested: the trace has no requests"
    if episodes:
        return "transient", "the gap closed" if len(episodes) == 1 else (
            f"all {len(episodes)} gaps closed"
        )
    return "clean", "every page was accounted for in every audit"


def _any_stuck(episodes: tuple[Episode, ...]) -> bool:
    return any(episode.is_open and not episode.could_close for episode in episodes)


def worst_episode(episodes: tuple[Episode, ...]) -> Episode | None:
    """The worst episode: an open one before a closed one, then the widest, then the first."""
    if not episodes:
        return None
    return max(
        episodes,
        key=lambda each: (
            each.is_open and not each.could_close,
            each.is_open,
            abs(each.quiet_gap_tokens or 0) or abs(each.gap_tokens),
            -each.number,
        ),
    )


def _mismatch(recording: Recording, worst: Episode) -> dict[str, Any]:
    """The widest quiet gap of the worst episode; the widest of all if none was quiet."""
    number = worst.quiet_audit if worst.quiet_audit is not None else worst.widest_audit
    row, run = recording.audit_row(number), recording.run
    page_size = run["profile"]["page_size"]
    return {
        "pool": worst.pool,
        "available": row["available"],
        "evictable": row["evictable"],
        "protected": row["protected"],
        "total": _pool_totals(run)[worst.pool],
        "live": row["live"],
        "in_transfer": row["in_transfer"],
        "gap": row["gap"],
        "page_size": page_size,
        "pages": row["gap"] // page_size,
        "quiet": row["quiet"],
        "audit": number,
        "time_us": row["time_us"],
    }


def _engine_message(run: dict[str, Any], mismatch: dict[str, Any] | None) -> str | None:
    """The mismatch in the engine's own words, or else what it died of."""
    if mismatch is None:
        died: str | None = run["engine"]["died_message"]
        return died
    counts = PoolCounts(
        mismatch["available"], mismatch["evictable"], mismatch["protected"], mismatch["total"]
    )
    return token_pool_message(run["profile"]["message_style"], counts)


def _kinds(episodes: tuple[Episode, ...], wrong_pages: int) -> dict[str, int]:
    """Pages by kind: of what is still open, or of everything when nothing is."""
    still_open = [episode for episode in episodes if episode.is_open]
    kinds: Counter[str] = Counter()
    for episode in still_open or episodes:
        kinds.update(episode.kinds)
    if wrong_pages:
        kinds["stale-write"] = wrong_pages
    return dict(sorted(kinds.items()))


def _final_gap(run: dict[str, Any], audits: AuditSeries) -> dict[str, Any]:
    """Every pool's gap when healing ended, and their sum."""
    gaps = _gaps_at_end(audits, ["inject", "heal"])
    pools = {pool: gap for pool, gap in sorted(gaps.items()) if gap}
    tokens = sum(pools.values())
    return {"tokens": tokens, "pages": tokens // run["profile"]["page_size"], "pools": pools}


def _gaps_at_end(audits: AuditSeries, phases: list[str]) -> dict[str, int]:
    """Each pool's gap in its last audit of these phases, which follow each other, in tokens."""
    gaps: dict[str, int] = {}
    for phase in phases:
        gaps |= audits.last_gaps.get(phase, {})
    return gaps


def _growth(run: dict[str, Any], audits: AuditSeries) -> str | None:
    """Whether the gap grew over the clean cycles: one-off, growing, or unknown."""
    cycles = [phase["phase"] for phase in run["phases"] if phase["phase"].startswith("repeat-")]
    ends = [
        sum(abs(gap) for gap in _gaps_at_end(audits, ["inject", "heal", *cycles[:count]]).values())
        for count in range(len(cycles) + 1)
    ]
    if ends[-1] == 0:
        return None
    if len(cycles) < GROWTH_CYCLES_MIN:
        return "unknown"
    return "growing" if ends[-1] > ends[0] else "one-off"


def _pool_totals(run: dict[str, Any]) -> dict[str, int]:
    return {pool["pool"]: pool["total_tokens"] for pool in run["pools"]}


def _last_audit_of_healing(audits: AuditSeries) -> int:
    return max(audits.last_audits.get(phase, -1) for phase in ("inject", "heal"))


def _count_wrong_pages(contents: pa.Table) -> int:
    """Pages with other bytes than their own; of several reads of a request the worst counts."""
    worst: dict[str, int] = {}
    for request_id, wrong in zip(
        contents["request_id"].to_pylist(), contents["wrong_pages"].to_pylist(), strict=True
    ):
        worst[request_id] = max(worst.get(request_id, 0), wrong)
    return sum(worst.values())


def _count_requests(batches: Iterable[pa.RecordBatch]) -> dict[str, int]:
    """Requests of the trace itself (not of repeat cycles) by how they ended."""
    states: Counter[str] = Counter()
    for batch in batches:
        first = batch.filter(pc.equal(batch["cycle"], 0))
        for count in pc.value_counts(first["decode_state"].cast(pa.string())).to_pylist():
            states[count["values"]] += count["counts"]
    counts = {
        "total": states.total(),
        "finished": states["finished"],
        "aborted": states["aborted"] + states["lost"],
        "failed": states["failed"],
    }
    counts["stuck"] = counts["total"] - sum(
        counts[name] for name in ("finished", "aborted", "failed")
    )
    return counts
