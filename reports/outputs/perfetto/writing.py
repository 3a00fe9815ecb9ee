"""Writes a recording as a trace file: what goes where, and how much of each there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from replay.errors import RecordingError
from replay.recording.reader import Recording
from replay.recording.requests import SIDES
from reports.outputs.perfetto.audit_tracks import write_checks, write_counters
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
    write_checks(file, recording, pids)
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
