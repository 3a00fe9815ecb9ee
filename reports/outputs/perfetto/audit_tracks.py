"""The audits of a recording as counters of each pool, and the engine's own checks as marks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from replay.recording.audits import audits_in_order, words_and_codes
from replay.recording.reader import Recording
from reports.outputs.perfetto.trace_file import TraceFile, quoted

#: Column of audits.parquet -> what its counter is called.
COUNTERS = {
    "available": '"available"',
    "evictable": '"evictable"',
    "protected": '"protected"',
    "live": '"live"',
    "in_transfer": '"in transfer"',
    "gap": '"gap"',
}


def write_counters(file: TraceFile, recording: Recording, pids: Mapping[str, int]) -> None:
    """Write every counter of every pool wherever it changes; all are tokens.

    Raises:
        RecordingError: the table is missing or broken.
    """
    last: dict[tuple[str, str], int] = {}
    columns = ("audit", "time_us", "pool", *COUNTERS)
    for batch in audits_in_order(recording, columns):
        pools, codes = words_and_codes(batch.column("pool"))
        time_us = batch.column("time_us").to_numpy()
        for code, pool in enumerate(pools):
            mine = np.flatnonzero(codes == code)
            if not mine.size:
                continue
            for column, name in COUNTERS.items():
                values = batch.column(column).to_numpy()[mine]
                at = _changes(values, last.get((pool, column)))
                last[pool, column] = int(values[-1])
                times = time_us[mine[at]].tolist()
                file.counters(name, pids[pool], times, values[at].tolist())


def _changes(values: npt.NDArray[np.int64], before: int | None) -> npt.NDArray[np.int64]:
    """Where a value differs from the one before it."""
    changed = np.ones(len(values), bool)
    changed[1:] = values[1:] != values[:-1]
    if before is not None:
        changed[0] = values[0] != before
    return np.flatnonzero(changed)


def write_checks(file: TraceFile, recording: Recording, pids: Mapping[str, int]) -> None:
    """Mark every audit at which the engine's own check fired, and when the engine would have died.

    Raises:
        RecordingError: the table is missing or broken.
    """
    import pyarrow.compute as pc

    threads: dict[str, int] = {}

    def mark(kind: str, name: str, pool: str, time_us: int, args: str) -> None:
        if pool not in threads:
            threads[pool] = file.thread(pids[pool], "engine's own check")
        file.instant(kind, name, pids[pool], threads[pool], time_us, args)

    for batch in audits_in_order(recording, ("audit", "time_us", "pool", "gap", "engine_check")):
        fired = batch.filter(pc.equal(batch.column("engine_check"), "fired"))
        for row in fired.to_pylist():
            args = f'{{"audit":{row["audit"]},"gap_tokens":{row["gap"]}}}'
            mark("engine check", '"check fired"', row["pool"], row["time_us"], args)
    engine = recording.run["engine"]
    if engine["died_us"] is not None:
        args = f'{{"message":{quoted(engine["died_message"] or "")}}}'
        mark("engine death", '"engine dies"', engine["died_pool"], engine["died_us"], args)
