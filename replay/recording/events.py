"""One row of events.parquet as a value, for the few requests that somebody asks about."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from replay.errors import RecordingError
from replay.recording.event_results import Result
from replay.recording.kinds import TAKEN, Outcome
from replay.recording.reader import Recording


class EventFact(NamedTuple):
    """One delivery of a completion event, or of an aimed fault, as the recording has it.

    Times are virtual microseconds; `delivered_us` is None for what never arrived. Ranks are -1 for
    aborts and timeouts, which come from no rank.
    """

    event: int
    copy: int
    request_id: str
    direction: str
    pool: str
    bootstrap_room: int
    prefill_tp_rank: int
    decode_tp_rank: int
    pages: int
    sent_us: int
    due_us: int
    delivered_us: int | None
    failed: bool
    fault: str | None
    rule: str | None
    outcome: Outcome
    detail: str | None
    observed: bool | None

    @classmethod
    def of_rows(cls, rows: pa.Table | pa.RecordBatch) -> list[EventFact]:
        """Some rows of the table, in their order.

        Raises:
            RecordingError: one has an outcome that this version does not know.
        """
        columns = [rows[name].to_pylist() for name in cls._fields]
        at = cls._fields.index("outcome")
        try:
            columns[at] = [Outcome(word) for word in columns[at]]
        except ValueError as problem:
            raise RecordingError(f"events.parquet: {problem}") from None
        return [cls(*row) for row in zip(*columns, strict=True)]

    @property
    def result(self) -> str:
        """Outcome and detail as people read them."""
        return Result(self.outcome, self.detail).text

    @property
    def was_taken(self) -> bool:
        """Whether its receiver counted it, or acted upon it."""
        return self.outcome in TAKEN

    @property
    def is_aimed(self) -> bool:
        """Whether it is no event but an abort or a timeout that a fault aimed at a state."""
        return self.prefill_tp_rank < 0

    @property
    def came_us(self) -> int:
        """When it arrived, or should have."""
        return self.due_us if self.delivered_us is None else self.delivered_us


def read_events(
    recording: Recording, request_ids: Collection[str], *, touched_only: bool = False
) -> dict[str, tuple[EventFact, ...]]:
    """Events of these requests by request, in the order in which they were sent.

    Args:
        recording: where to look; its table is read as a stream.
        request_ids: whose events; nothing is read when there are none.
        touched_only: only events that a fault rule touched.

    Raises:
        RecordingError: the table is missing or broken.
    """
    found: dict[str, list[EventFact]] = {}
    wanted = pa.array(sorted(request_ids), pa.string())
    for batch in recording.batches("events", EventFact._fields) if request_ids else ():
        mask = pc.is_in(batch["request_id"], value_set=wanted)
        if touched_only:
            mask = pc.and_(mask, pc.is_valid(batch["rule"]))
        for fact in EventFact.of_rows(batch.filter(mask)):
            found.setdefault(fact.request_id, []).append(fact)
    return {request_id: as_sent(facts) for request_id, facts in found.items()}


def read_numbered_events(recording: Recording, numbers: Collection[int]) -> tuple[EventFact, ...]:
    """Every delivery of the events of these numbers, in the order in which they were sent.

    Raises:
        RecordingError: the table is missing or broken.
    """
    wanted = pa.array(sorted(numbers), pa.int64())
    found: list[EventFact] = []
    for batch in recording.batches("events", EventFact._fields) if numbers else ():
        rows = batch.filter(pc.is_in(batch["event"], value_set=wanted))
        found += EventFact.of_rows(rows)
    return as_sent(found)


def as_sent(facts: Iterable[EventFact]) -> tuple[EventFact, ...]:
    """Events in the order in which they were sent, copies after their original."""
    return tuple(sorted(facts, key=lambda fact: (fact.sent_us, fact.event, fact.copy)))
