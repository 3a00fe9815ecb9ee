"""The verdict: a pure function of a recording.

    clean          no gap in any audit, no wrong bytes, every request ended
    transient      every gap closed before the heal budget ended
    persistent     a gap was still open after healing (or bytes were wrong, a page had two owners, or
                   a request never ended)
    inconclusive   the budget ended while something could still close a gap, a rule never fired or
                   changed nothing that an engine could see, or the real engine would have died
                   although every gap closed in the replay

Nothing but the recording's tables and run.json is read, in the order of their audit numbers, so the
verdict does not depend on row groups or on how the tables were written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replay.recording.audits import AuditSeries, read_audits
from replay.recording.engine_messages import PoolCounts, token_pool_message
from replay.recording.events import read_events
from replay.recording.reader import Recording
from replay.recording.tables import SUMMARY_SCHEMA
from replay.verdict.blame import evidence_of
from replay.verdict.episodes import Episode, find_episodes, read_owners
from replay.verdict.growth import gaps_at_end, growth_of_all, growth_of_pools
from replay.verdict.rules import Oracles, ask_oracles, decide, put_down_to


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a recording means: the summary, its episodes, and what each oracle saw."""

    summary: dict[str, Any]
    episodes: tuple[Episode, ...]
    oracles: Oracles


def judge(recording: Recording) -> Verdict:
    """Find the episodes of a recording and give its verdict."""
    audits, run = read_audits(recording), recording.run
    owners = read_owners(recording.table("owners"))
    faulted = read_events(recording, {owner.request_id for owner in owners}, touched_only=True)
    episodes = find_episodes(
        audits.spans,
        owners,
        faulted,
        growth_of_pools(run, audits),
        _last_audit_of_healing(audits),
    )
    oracles = ask_oracles(recording, episodes)
    verdict, why = decide(run, oracles)
    worst = oracles.count.worst
    mismatch = None if worst is None else _mismatch(recording, worst)
    summary = {
        "schema": SUMMARY_SCHEMA,
        "verdict": verdict,
        "why": why,
        "blame": put_down_to(recording, oracles),
        "growth": growth_of_all(run, audits),
        "direction": None if worst is None else worst.direction,
        "kinds": oracles.kinds(),
        "mismatch": mismatch,
        "evidence": None if worst is None else evidence_of(recording, worst),
        "final_gap": _final_gap(run, audits),
        "engine_message": _engine_message(run, mismatch),
        "engine_check_fired": run["engine"]["check_fired"],
        "engine_died_us": run["engine"]["died_us"],
        "engine_died_message": run["engine"]["died_message"],
        "episodes": len(episodes),
        "episodes_unprovoked": sum(not episode.causes for episode in episodes),
        "episodes_open": sum(episode.is_open for episode in episodes),
        "swarm": run["swarm"],
        "faults": run["faults"]["totals"]
        | {
            "rules_never_fired": run["faults"]["never_fired"],
            "rules_without_effect": run["faults"]["without_effect"],
        },
        "requests": oracles.liveness.requests,
        "oracles": oracles.totals(),
        "audits": audits.rows,
        "iterations": audits.iterations,
        "virtual_us": recording.end_us,
        "reproduce": run["reproduce"],
    }
    return Verdict(summary, episodes, oracles)


def _mismatch(recording: Recording, worst: Episode) -> dict[str, Any]:
    """The widest quiet gap of the worst episode; the widest of all if none was quiet."""
    number = worst.quiet_audit if worst.quiet_audit is not None else worst.widest_audit
    row, run = recording.audit_rows([number])[number], recording.run
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


def _final_gap(run: dict[str, Any], audits: AuditSeries) -> dict[str, Any]:
    """Every pool's gap when healing ended, and their sum."""
    gaps = gaps_at_end(audits, ["inject", "heal"])
    pools = {pool: gap for pool, gap in sorted(gaps.items()) if gap}
    tokens = sum(pools.values())
    return {"tokens": tokens, "pages": tokens // run["profile"]["page_size"], "pools": pools}


def _pool_totals(run: dict[str, Any]) -> dict[str, int]:
    return {pool["pool"]: pool["total_tokens"] for pool in run["pools"]}


def _last_audit_of_healing(audits: AuditSeries) -> int:
    return max(audits.last_audits.get(phase, -1) for phase in ("inject", "heal"))
