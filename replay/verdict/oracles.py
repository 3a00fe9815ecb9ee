"""What four independent oracles saw, read from a recording.

count      the gap of every audit (`replay.recording.audits`), and the engine's own check
ledger     pages that changed hands, or were written or read, as in no correct engine
contents   pages and first tokens that held other bytes than the reader's own
liveness   requests that never ended on one side, and whether the engine would have died
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from replay.pool.owner_codes import LedgerViolations
from replay.recording.reader import Recording

#: States in which a side is done with a request.
DECODE_ENDED = ("finished", "aborted", "lost", "failed")
PREFILL_ENDED = ("done", "dropped")


@dataclass(frozen=True, slots=True)
class Findings:
    """What the oracles beside the count found."""

    #: Pages by kind (stale-write, premature-free); of several reads of a request the worst counts.
    wrong_pages: dict[str, int]
    wrong_first_tokens: int
    #: Pages handled by somebody else than their owner.
    ledger: LedgerViolations
    #: The most pages with live owners that the engine's own check has called a leak.
    false_alarm_pages: int
    #: Requests of the trace itself (not of repeat cycles) by how they ended.
    requests: dict[str, int]
    #: Requests that decode is done with and prefill is not.
    prefill_stuck: int
    #: Requests of clean cycles that a side is not done with.
    stuck_in_cycles: int
    #: What the engine would have died of, None when it lives.
    died_message: str | None
    died_us: int | None
    #: The pool and the time of that false alarm.
    false_alarm_pool: str | None = None
    false_alarm_us: int | None = None

    @property
    def content_pages(self) -> int:
        """All pages with other bytes than the reader's own."""
        return sum(self.wrong_pages.values())

    def kinds(self) -> dict[str, int]:
        """Pages by kind of what no gap shows; a wrong first token counts as one page."""
        kinds = Counter(self.wrong_pages)
        kinds["stale-write"] += self.wrong_first_tokens
        kinds.update(self.ledger_kinds())
        kinds["check-false-alarm"] += self.false_alarm_pages
        return {kind: pages for kind, pages in kinds.items() if pages}

    def ledger_kinds(self) -> dict[str, int]:
        """Pages by kind of what the ledger alone has seen: what was read wrong is not told twice."""
        kinds = {"double-owned": self.ledger.acquired_while_owned, "stale-write": 0}
        if not self.wrong_first_tokens:
            kinds["stale-write"] += self.ledger.slots_written_by_another
        if not self.wrong_pages:
            # Nobody has read them since, or what was right was written over them in time.
            kinds["stale-write"] += self.ledger.written_by_another
            kinds["premature-free"] = self.ledger.read_by_another
        return {kind: pages for kind, pages in kinds.items() if pages}


def read_findings(recording: Recording) -> Findings:
    """Read what the oracles found.

    Raises:
        RecordingError: a table is missing or broken.
    """
    run = recording.run
    engine = run["engine"]
    wrong_pages, wrong_first_tokens = _wrong_contents(recording.table("contents"))
    columns = ("cycle", "decode_state", "prefill_state")
    requests, prefill_stuck, stuck_in_cycles = _count_requests(
        recording.batches("requests", columns)
    )
    alarm = _Alarm()
    if engine["check_fired"]:
        numbers = ("engine_check", "gap", "live", "in_transfer", "pool", "time_us")
        alarm = _false_alarm(recording.batches("audits", numbers))
    return Findings(
        wrong_pages=wrong_pages,
        wrong_first_tokens=wrong_first_tokens,
        ledger=LedgerViolations(**run["oracles"]["ledger"]),
        false_alarm_pages=alarm.tokens // run["profile"]["page_size"],
        false_alarm_pool=alarm.pool,
        false_alarm_us=alarm.time_us,
        requests=requests,
        prefill_stuck=prefill_stuck,
        stuck_in_cycles=stuck_in_cycles,
        died_message=engine["died_message"],
        died_us=engine["died_us"],
    )


def findings_of(summary: dict[str, Any]) -> list[str]:
    """What the oracles hold against the pair itself, whatever faults it was put to.

    A good pair lets no gap stay, opens none that no fault explains, never reads wrong bytes, never
    gives a page to two owners, ends every request, and its engine neither complains nor dies.
    """
    oracles, found = summary["oracles"], []
    if summary["final_gap"]["pools"]:
        found.append(f"count: {summary['final_gap']['tokens']} tokens are missing after healing")
    if summary["episodes_unprovoked"]:
        found.append(f"count: {summary['episodes_unprovoked']} gaps that no fault explains")
    if summary["engine_check_fired"]:
        found.append("count: the engine's own check fired")
    if oracles["ledger"]:
        found.append(f"ledger: {oracles['ledger']} pages were handled by others than their owners")
    if oracles["contents"]:
        found.append(f"contents: {oracles['contents']} pages or first tokens were not the reader's")
    if oracles["liveness"]:
        found.append(f"liveness: {oracles['liveness']} requests never ended")
    if summary["engine_died_us"] is not None:
        found.append(f"liveness: the engine would have died: {summary['engine_died_message']}")
    return found


def _wrong_contents(contents: pa.Table) -> tuple[dict[str, int], int]:
    worst: dict[str, tuple[int, str]] = {}
    columns = ("request_id", "wrong_pages", "kind")
    for request_id, wrong, kind in zip(
        *(contents[column].to_pylist() for column in columns), strict=True
    ):
        worst[request_id] = max(worst.get(request_id, (0, "")), (wrong, kind))
    pages: Counter[str] = Counter()
    for wrong, kind in worst.values():
        pages[kind] += wrong
    wrong_first_tokens = sum(contents["wrong_first_token"].to_pylist())
    return {kind: count for kind, count in sorted(pages.items()) if count}, wrong_first_tokens


class _Alarm(NamedTuple):
    """The engine's own check firing although nothing was missing, at the most tokens in use."""

    tokens: int = 0
    pool: str | None = None
    time_us: int | None = None


def _false_alarm(batches: Iterable[pa.RecordBatch]) -> _Alarm:
    """The first of the audits with the most live tokens at which the check fired and nothing was
    missing.
    """
    worst = _Alarm()
    for batch in batches:
        fired = pc.equal(batch["engine_check"].cast(pa.string()), "fired")
        for row in batch.filter(pc.and_(fired, pc.equal(batch["gap"], 0))).to_pylist():
            tokens = row["live"] + row["in_transfer"]
            if tokens > worst.tokens:
                worst = _Alarm(tokens, row["pool"], row["time_us"])
    return worst


def _count_requests(batches: Iterable[pa.RecordBatch]) -> tuple[dict[str, int], int, int]:
    """Requests of the trace by how they ended, how many of them are done on the decode side only,
    and how many of the clean cycles are not done.
    """
    states: Counter[tuple[bool, str, str]] = Counter()
    for batch in batches:
        is_first = pc.equal(batch["cycle"], 0)
        columns = (is_first, batch["decode_state"], batch["prefill_state"])
        states.update(zip(*(column.to_pylist() for column in columns), strict=True))
    decode: Counter[str] = Counter()
    prefill_stuck = stuck_in_cycles = 0
    for (is_first, decode_state, prefill_state), count in states.items():
        decode_ended, prefill_ended = decode_state in DECODE_ENDED, prefill_state in PREFILL_ENDED
        if is_first:
            decode[decode_state] += count
            prefill_stuck += count * (decode_ended and not prefill_ended)
        else:
            stuck_in_cycles += count * (not decode_ended or not prefill_ended)
    counts: dict[str, Any] = {
        "total": decode.total(),
        "finished": decode["finished"],
        "aborted": decode["aborted"] + decode["lost"],
        "failed": decode["failed"],
    }
    counts["stuck"] = counts["total"] - sum(decode[state] for state in DECODE_ENDED)
    return counts, prefill_stuck, stuck_in_cycles
