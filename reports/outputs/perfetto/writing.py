"""Writes a recording as a trace file: what goes where, and how much of each there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.errors import RecordingError
from replay.recording.audits import audits_in_order, words_and_codes
from replay.recording.reader import Recording
from replay.recording.requests import SIDES
from reports.outputs.perfetto.event_tracks import Arrows, write_arrows, write_faults
from reports.outputs.perfetto.request_tracks import (
    Stays,
    pools_of,
    read_requests,
    write_side,
    write_transfers,
)
from reports.outputs.perfetto.trace_file import TraceFile, quoted, trace_file


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """What was written: events by what they show, and deliveries with and without an arrow."""

    counts: dict[str, int]
    arrows: Arrows

    @property
    def slices(self) -> int:
        """Slices of every kind; marks are none."""
        return sum(self.counts.get(kind, 0) for kind in SLICES)

    def as_json(self) -> dict[str, object]:
        """The summary as `--json` prints it."""
        return {
            "slices": self.slices,
            "by_kind": dict(sorted(self.counts.items())),
            "deliveries": self.arrows.deliveries,
            "deliveries_with_arrow": self.arrows.drawn,
        }


#: Column of audits.parquet -> what its counter is called.
COUNTERS = {
    "available": '"available"',
    "evictable": '"evictable"',
    "protected": '"protected"',
    "live": '"live"',
    "in_transfer": '"in transfer"',
    "gap": '"gap"',
}

#: The kinds of events that are slices.
SLICES = (
    "phase",
    "episode",
    "prefill request",
    "prefill",
    "decode request",
    "decode",
    "transfer",
    "fault",
)


def write_perfetto(directory: Path, output: Path, *, compress: bool) -> TraceSummary:
    """Write a recording as a trace file, in memory that holds its requests and nothing else.

    Args:
        directory: the recording.
        output: the file to write; whoever calls puts it into place.
        compress: whether it is gzip.

    Raises:
        RecordingError: the recording cannot be read, or its parts do not fit together.
    """
    recording = Recording.open(directory)
    run = recording.run
    try:
        about = {
            "kvreplay": run["kvreplay"],
            "profile": run["profile"]["name"],
            "seed": run["options"]["seed"],
            "trace_sha256": run["trace"]["sha256"],
            "times": "virtual microseconds",
        }
        with trace_file(output, about, compress=compress) as file:
            arrows = _write(file, recording)
            return TraceSummary(dict(file.counts), arrows)
    except (KeyError, TypeError, pa.ArrowException) as problem:
        raise RecordingError(
            f"{directory}: damaged, its tables and run.json do not fit together "
            f"({type(problem).__name__}: {problem})"
        ) from None


def _write(file: TraceFile, recording: Recording) -> Arrows:
    run = recording.run
    end_us = recording.end_us
    _write_phases(file, recording)
    write_faults(file, recording, end_us)
    pids = {pool: file.process(pool) for pool in pools_of(run)}
    _write_checks(file, recording, pids)
    _write_episodes(file, recording, pids, end_us)
    write_counters(file, recording, pids)
    requests = read_requests(recording, end_us)
    stays: dict[str, Stays] = {side: write_side(file, requests, side, pids) for side in SIDES}
    write_transfers(file, requests, pids)
    return write_arrows(file, recording, requests, stays, pids)


def _write_phases(file: TraceFile, recording: Recording) -> None:
    pid = file.process("replay")
    tid = file.thread(pid, "phases")
    for phase in recording.run["phases"]:
        name = quoted(phase["phase"])
        file.slice("phase", name, pid, tid, phase["start_us"], phase["end_us"])


def _write_episodes(
    file: TraceFile, recording: Recording, pids: dict[str, int], end_us: int
) -> None:
    """Every gap, from the audit that opened it to the one that closed it, in its pool's process."""
    threads: dict[str, int] = {}
    columns = ("episode", "pool", "opened_us", "closed_us", "direction", "verdict", "kinds")
    more = ("gap_tokens", "blame")
    for batch in recording.batches("episodes", (*columns, *more)):
        for row in batch.to_pylist():
            pool = row["pool"]
            if pool not in threads:
                threads[pool] = file.thread(pids[pool], "gaps")
            until_us = end_us if row["closed_us"] is None else row["closed_us"]
            args = (
                f'{{"episode":{row["episode"]},"verdict":{quoted(row["verdict"])},'
                f'"gap_tokens":{row["gap_tokens"]},"pages_by_kind":{quoted(row["kinds"])},'
                f'"what_did_it":{quoted(row["blame"] or "")}}}'
            )
            name, start_us = quoted(f"gap: {row['direction']}"), row["opened_us"]
            file.slice("episode", name, pids[pool], threads[pool], start_us, until_us, args)


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


def _write_checks(file: TraceFile, recording: Recording, pids: Mapping[str, int]) -> None:
    """Mark every audit at which the engine's own check fired, and when the engine would have died.

    Raises:
        RecordingError: the table is missing or broken.
    """
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
        mark("engine death", '"engine crashes"', engine["died_pool"], engine["died_us"], args)
