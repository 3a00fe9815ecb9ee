"""The audits of one pool, in order, each with when anything happens next on its server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from replay.recording.reader import Recording
from replay.recording.requests import NEVER

_COUNTS = ("audit", "time_us", "available", "evictable", "protected", "iterations")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One audit of one pool, counts in tokens."""

    audit: int
    time_us: int
    available: int
    evictable: int
    protected: int
    #: Iterations of the server since the pool's audit before.
    iterations: int
    #: none, ok or fired.
    engine_check: str
    #: The next audit of any pool of the server, or NEVER.
    next_us: int


def rows_of(recording: Recording, server: str, pool: str) -> Iterator[AuditRow]:
    """Read the audits of one pool as a stream.

    Raises:
        RecordingError: the table is missing or broken.
    """
    held: AuditRow | None = None
    for batch in recording.batches("audits", (*_COUNTS, "pool", "engine_check")):
        pools = batch.column("pool").to_pylist()
        of_server = np.array([each.startswith(f"{server}/") for each in pools], dtype=bool)
        of_pool = [each == pool for each in pools]
        rows = np.flatnonzero(of_server)
        counts = {name: batch.column(name).to_pylist() for name in _COUNTS}
        checks = batch.column("engine_check").to_pylist()
        for row in rows.tolist():
            time_us = counts["time_us"][row]
            if held is not None and time_us > held.time_us:
                yield _with_next(held, time_us)
                held = None
            if of_pool[row]:
                if held is not None:
                    yield _with_next(held, time_us)
                values = {name: column[row] for name, column in counts.items()}
                held = AuditRow(**values, engine_check=checks[row], next_us=NEVER)
    if held is not None:
        yield held


def _with_next(row: AuditRow, next_us: int) -> AuditRow:
    return dataclasses.replace(row, next_us=next_us)
