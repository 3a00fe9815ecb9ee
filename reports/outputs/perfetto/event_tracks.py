"""Completion events as arrows between requests, and what faults did to them.

An arrow goes from the sender's half of a request to the receiver's. It is drawn where the request
was still there at both ends; an event that came when nobody waited for it any more is counted, and
stands among the faults if one touched it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.event_results import Result
from replay.recording.kinds import Outcome
from replay.recording.reader import Recording
from reports.outputs.perfetto.request_tracks import Integers, Requests, Stays
from reports.outputs.perfetto.trace_file import Lanes, TraceFile, quoted

_COLUMNS = (
    "event",
    "copy",
    "request_id",
    "direction",
    "pool",
    "bootstrap_room",
    "prefill_tp_rank",
    "decode_tp_rank",
    "pages",
    "sent_us",
    "due_us",
    "delivered_us",
    "fault",
    "rule",
    "outcome",
    "detail",
)
#: Events read at once: finding their requests costs the more, the more often it is done.
_BATCH_ROWS = 262_144
_NAMES = {"decode": '"completion"', "prefill": '"acknowledgement"'}


@dataclass(frozen=True, slots=True)
class Arrows:
    """How many deliveries there are, and how many of them have an arrow."""

    deliveries: int
    drawn: int


def write_arrows(
    file: TraceFile,
    recording: Recording,
    requests: Requests,
    stays: Mapping[str, Stays],
    pids: Mapping[str, int],
) -> Arrows:
    """Draw every delivery whose request was there when it was sent and when it came.

    Args:
        file: where to, after all slices of requests.
        recording: its events are read as a stream.
        requests: all of them.
        stays: by side, where their slices are.
        pids: process of each pool.

    Raises:
        RecordingError: the table is missing or broken.
    """
    deliveries = drawn = 0
    known = requests.ids.combine_chunks()
    for batch in recording.batches("events", _COLUMNS, _BATCH_ROWS):
        came = batch.filter(
            pc.and_(
                pc.is_valid(batch["delivered_us"]), pc.greater_equal(batch["prefill_tp_rank"], 0)
            )
        )
        deliveries += came.num_rows
        rows = pc.fill_null(pc.index_in(came["request_id"], value_set=known), -1).to_numpy()
        for direction, sender in (("decode", "prefill"), ("prefill", "decode")):
            mine = pc.equal(came["direction"], direction).to_numpy(zero_copy_only=False)
            mine &= rows >= 0
            ends = _Ends(requests, stays, pids, sender, direction)
            part = came.filter(pa.array(mine))
            drawn += ends.draw(file, part, rows[mine].astype(np.int64), drawn)
    return Arrows(deliveries, drawn)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where the arrows of one direction begin and end."""

    requests: Requests
    stays: Mapping[str, Stays]
    pids: Mapping[str, int]
    sender: str
    receiver: str

    def draw(self, file: TraceFile, events: Any, row: Integers, number: int) -> int:
        """Draw those that have both ends, numbered from `number`; return how many."""
        sent = events["sent_us"].to_numpy()
        came = events["delivered_us"].to_numpy()
        # What ends a request comes at its very end, where its slice is no longer open.
        came = np.where(came == self.stays[self.receiver].end_us[row], came - 1, came)
        is_there = (
            _within(self.stays[self.sender], row, sent)
            & _within(self.stays[self.receiver], row, came)
            & (came >= sent)
            & self._reached_its_pool(events, row)
        )
        at = np.flatnonzero(is_there)
        name = _NAMES[self.receiver]
        starts, ends = self._places(self.sender, row[at]), self._places(self.receiver, row[at])
        times = zip(sent[at].tolist(), came[at].tolist(), strict=True)
        for start, end, (sent_us, came_us) in zip(starts, ends, times, strict=True):
            number += 1
            file.arrow(name, (*start, sent_us), (*end, came_us), number)
        return len(at)

    def _reached_its_pool(self, events: Any, row: Integers) -> npt.NDArray[np.bool_]:
        """Whether it came to where its request is, and not to another rank."""
        pools, codes = self.requests.words[f"{self.receiver}_pool"]
        expected = pa.array(pools, pa.string()).take(pa.array(codes[row]))
        reached: npt.NDArray[np.bool_] = pc.equal(
            events["pool"].cast(pa.string()), expected
        ).to_numpy(zero_copy_only=False)
        return reached

    def _places(self, side: str, row: Integers) -> list[tuple[int, int]]:
        pools, codes = self.requests.words[f"{side}_pool"]
        pids = [self.pids[pool] for pool in pools]
        tids = self.stays[side].tid[row].tolist()
        return [(pids[code], tid) for code, tid in zip(codes[row].tolist(), tids, strict=True)]


def _within(stays: Stays, row: Integers, time_us: Integers) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (stays.start_us[row] <= time_us) & (time_us < stays.end_us[row])
    return inside


def write_faults(file: TraceFile, recording: Recording, end_us: int) -> None:
    """Write what rules did: a slice for an event held back, a mark for every other.

    A slice reaches from when the event was due to when it came, or to the end of the replay.

    Raises:
        RecordingError: the table is missing or broken.
    """
    touched = [
        batch.filter(pc.is_valid(batch["rule"])) for batch in recording.batches("events", _COLUMNS)
    ]
    found = [batch for batch in touched if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found).sort_by(
        [("due_us", "ascending"), ("event", "ascending"), ("copy", "ascending")]
    )
    pid = file.process("faults")
    names = [rule["name"] for rule in recording.run["plan"]["rules"]]
    tracks = {name: _RuleTracks(file, pid, name) for name in names}
    for batch in table.to_batches(max_chunksize=8_192):
        for row in batch.to_pylist():
            if row["rule"] not in tracks:
                tracks[row["rule"]] = _RuleTracks(file, pid, row["rule"])
            tracks[row["rule"]].write(row, end_us)


class _RuleTracks:
    """The threads of one rule: one for its marks, as many as it takes for its slices."""

    def __init__(self, file: TraceFile, pid: int, rule: str) -> None:
        self._file, self._pid, self._rule = file, pid, rule
        self._marks: int | None = None
        self._lanes = Lanes(lambda number: file.thread(pid, f"{rule}: held back {number}"))

    def write(self, row: Mapping[str, Any], end_us: int) -> None:
        due_us, came_us = row["due_us"], row["delivered_us"]
        is_lost = came_us is None and row["outcome"] == Outcome.LOST
        until_us = end_us if came_us is None else came_us
        name = quoted(f"{row['fault']}: room {row['bootstrap_room']}")
        if not is_lost and until_us > due_us and row["prefill_tp_rank"] >= 0:
            tid = self._lanes.take(due_us, until_us)
            self._file.slice("fault", name, self._pid, tid, due_us, until_us, _args(row))
            return
        if self._marks is None:
            self._marks = self._file.thread(self._pid, self._rule)
        at_us = row["sent_us"] if came_us is None else came_us
        self._file.instant("fault mark", name, self._pid, self._marks, at_us, _args(row))


def _args(row: Mapping[str, Any]) -> str:
    names = ("request_id", "event", "copy", "direction", "pool", "pages", "result")
    row = {**row, "result": Result.of_row(row).text}
    told = ",".join(
        f'"{name}":{quoted(row[name]) if isinstance(row[name], str) else row[name]}'
        for name in names
        if row[name] is not None
    )
    return f"{{{told}}}"
