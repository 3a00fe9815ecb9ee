"""The liveness oracle: requests that never ended on one side or the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.events import EventFact, read_events
from replay.recording.kinds import DECODE_ENDED, PREFILL_ENDED
from replay.recording.reader import Recording
from replay.recording.words import counted, what_happened
from replay.verdict.base import ID_CHARACTERS_MAX, Oracle, Ruling
from replay.verdict.findings.finding import (
    NEVER_ENDED,
    Blamed,
    Block,
    category_of,
    faults_of,
    rules_of,
)
from traces.text import shortened

_COLUMNS = (
    "request_id",
    "cycle",
    "arrival_us",
    "prefill_state",
    "decode_state",
    "prefill_pool",
    "decode_pool",
)


@dataclass(frozen=True, slots=True)
class Liveness(Oracle):
    """How the requests of a recording ended."""

    name = "liveness"
    objection = "requests never ended"
    telling_kinds = ()

    #: Requests of the trace itself (not of repeat cycles) by how they ended.
    requests: dict[str, int]
    #: Requests that decode is done with and prefill is not.
    prefill_stuck: int
    #: Requests of clean cycles that a side is not done with.
    stuck_in_cycles: int
    #: Whether the replay ended with work of the trace, or of a clean cycle, under way.
    ended_early: bool
    ended_early_in_cycle: bool

    @property
    def total(self) -> int:
        """Requests that never ended."""
        return self.requests["stuck"] + self.prefill_stuck + self.stuck_in_cycles

    def kinds(self) -> dict[str, int]:
        """None: requests that wait without a gap miss no page."""
        return {}

    def ruling(self) -> Ruling | None:
        """A request that nothing can end any more is persistent."""
        stuck = self.requests["stuck"]
        if stuck or self.prefill_stuck:
            if self.ended_early:
                return "inconclusive", "the heal budget ended while requests were still under way"
            side = "" if stuck else " on the prefill side"
            count = counted(stuck or self.prefill_stuck, "request")
            return "persistent", f"{count} never ended{side}, although no page is missing"
        if not self.stuck_in_cycles:
            return None
        # Remains of the inject phase can block requests of later cycles.
        if self.ended_early_in_cycle:
            why = "the replay ended while requests of a clean cycle were under way"
            return "inconclusive", why
        count = counted(self.stuck_in_cycles, "request")
        return "persistent", f"{count} of the clean cycles never ended, although no page is missing"

    def blame(self, recording: Recording) -> str:
        """One sentence about the first request that never ended; empty for none."""
        if not self.total:
            return ""
        first = min(_unended(recording), key=_by_arrival)
        name = first["request_id"]
        touched = read_events(recording, {name}, touched_only=True).get(name, ())
        return _never_ended_words(first, touched)

    @classmethod
    def objections(cls, summary: Mapping[str, Any]) -> list[str]:
        """Requests that never ended, and an engine that would have died."""
        total, found = summary["oracles"]["liveness"], []
        if total:
            found.append(f"liveness: {total} {cls.objection}")
        if summary["engine_died_us"] is not None:
            found.append(f"liveness: the engine would have died: {summary['engine_died_message']}")
        return found

    @classmethod
    def ruled(cls, summary: Mapping[str, Any]) -> str | None:
        """With the side that did not end."""
        if not summary["oracles"]["liveness"]:
            return None
        return "decode-liveness" if summary["requests"]["stuck"] else "prefill-liveness"

    def blocks(self, recording: Recording, in_gaps: Sequence[Block]) -> Blamed:
        """Requests that never ended and hold no page of a gap that stays."""
        if not self.total:
            return []
        in_gap = {block.request_id for block in in_gaps if block.lasts}
        waiting = [row for row in _unended(recording) if row["request_id"] not in in_gap]
        waiting.sort(key=_by_arrival)
        names = {row["request_id"] for row in waiting}
        events = read_events(recording, names, touched_only=True)
        blamed = []
        for row in waiting:
            touched = events.get(row["request_id"], ())
            first = touched[0] if touched else None
            side = "prefill" if row["decode_state"] in DECODE_ENDED else "decode"
            ended_early = self.ended_early_in_cycle if row["cycle"] else self.ended_early
            can_end = recording.run["stopped_early"] or ended_early
            block = Block(
                category=category_of(NEVER_ENDED, 0, can_end),
                kind=NEVER_ENDED,
                pool=row[f"{side}_pool"],
                request_id=row["request_id"],
                pages=0,
                lasts=True,
                state=row[f"{side}_state"],
                faults=faults_of(first),
                rules=rules_of(first),
                opened_us=row["arrival_us"],
            )
            blamed.append((block, _never_ended_words(row, touched)))
        return blamed


def read_liveness(recording: Recording) -> Liveness:
    """Count the requests by how they ended."""
    states: Counter[tuple[bool, str, str]] = Counter()
    for batch in recording.batches("requests", ("cycle", "decode_state", "prefill_state")):
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
    run = recording.run
    ended_early = (run["budget_exhausted"], run["pending_at_end"])
    return Liveness(counts, prefill_stuck, stuck_in_cycles, *ended_early)


def _unended(recording: Recording) -> Iterator[dict[str, Any]]:
    """Rows of requests that a side is not done with."""
    for batch in recording.batches("requests", _COLUMNS):
        ended = pc.and_(
            pc.is_in(batch["decode_state"].cast(pa.string()), pa.array(DECODE_ENDED)),
            pc.is_in(batch["prefill_state"].cast(pa.string()), pa.array(PREFILL_ENDED)),
        )
        yield from batch.filter(pc.invert(ended)).to_pylist()


def _by_arrival(row: dict[str, Any]) -> tuple[int, str]:
    return row["arrival_us"], row["request_id"]


def _never_ended_words(row: dict[str, Any], touched: Sequence[EventFact]) -> str:
    """One sentence about a request, with the first of its events that a rule touched."""
    name = shortened(row["request_id"], ID_CHARACTERS_MAX)
    prefill, decode = row["prefill_state"], row["decode_state"]
    said = f"{name} is {prefill} on the prefill and {decode} on the decode side"
    return f"{said}: {what_happened(touched[0])}" if touched else f"{said}, and no fault touched it"
