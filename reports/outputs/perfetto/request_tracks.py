"""The requests of a recording as slices, on both sides, and their bytes on the way.

A request is a slice from its arrival to its end, and what it waited for or did lies in it:

    prefill   bootstrap | prefill-waiting | prefilling | in-flight
    decode    prealloc | transfer | waiting | running | deferred
    bytes     moving

The states are those of `faults.events.RequestState`, as far as requests.parquet has their times: a
prompt is in flight here from its first bytes on, and a retracted request goes on running.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from replay.recording.reader import Recording
from reports.outputs.perfetto.lanes import Lanes
from reports.outputs.perfetto.trace_file import TraceFile, quoted

Integers = npt.NDArray[np.int64]

_NUMBERS = (
    "bootstrap_room",
    "input_tokens",
    "output_tokens",
    "prompt_pages",
    "prefix_pages",
    "arrival_us",
    "preallocated_us",
    "prefill_start_us",
    "transfer_start_us",
    "landed_us",
    "consumed_us",
    "running_us",
    "gave_up_us",
    "ended_us",
    "prefill_ended_us",
)
_WORDS = ("prefill_pool", "decode_pool", "prefill_state", "decode_state")
#: State -> the column with its beginning, in order; arrival comes before all.
_DECODE = {
    "transfer": "preallocated_us",
    "waiting": "consumed_us",
    "running": "running_us",
    "deferred": "gave_up_us",
}
_PREFILL = {"prefilling": "prefill_start_us", "in-flight": "transfer_start_us"}
#: Requests that are turned into slices at once.
_CHUNK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Requests:
    """The columns of requests.parquet that tracks are made of; times are -1 where unknown."""

    ids: pa.ChunkedArray
    numbers: dict[str, Integers]
    #: Column -> its distinct words, and which of them each row has.
    words: dict[str, tuple[list[str], Integers]]
    end_us: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Stays:
    """Where each request's slice is on one side: thread and times, by row of the table."""

    tid: Integers
    start_us: Integers
    end_us: Integers


def read_requests(recording: Recording, end_us: int) -> Requests:
    """Read what is drawn of every request.

    Raises:
        RecordingError: the table is missing or broken.
    """
    batches = list(recording.batches("requests", ("request_id", *_NUMBERS, *_WORDS)))
    if not batches:
        empty = np.zeros(0, np.int64)
        return Requests(
            pa.chunked_array([], pa.string()),
            dict.fromkeys(_NUMBERS, empty),
            dict.fromkeys(_WORDS, ([], empty)),
            end_us,
        )
    table = pa.Table.from_batches(batches)
    words = {}
    for name in _WORDS:
        column = table[name].cast(pa.string()).dictionary_encode().combine_chunks()
        words[name] = (column.dictionary.to_pylist(), column.indices.to_numpy().astype(np.int64))
    numbers = {name: table[name].to_numpy().astype(np.int64) for name in _NUMBERS}
    last_us = max(end_us, int(numbers["arrival_us"].max()))
    return Requests(table["request_id"], numbers, words, last_us)


def write_side(
    file: TraceFile, requests: Requests, side: str, pids: Mapping[str, int], *, late: bool
) -> Stays:
    """Write the requests of one side, `prefill` or `decode`, into their pools' processes.

    Args:
        file: where to.
        requests: whose.
        side: which half of each.
        pids: process of each pool.
        late: whether decode gets its pages only once the prompt has been computed.
    """
    states = _prefill_states(requests, late) if side == "prefill" else _decode_states(requests)
    times = requests.numbers
    ended = times["prefill_ended_us" if side == "prefill" else "ended_us"]
    start = times["arrival_us"]
    end = np.maximum(np.where(ended >= 0, ended, requests.end_us), start)
    stays = Stays(np.zeros(len(requests), np.int64), start, end)
    pools, codes = requests.words[f"{side}_pool"]
    lanes = [_lanes(file, pids[pool], "requests") for pool in pools]
    for rows in _chunks(start):
        edges = {name: at[rows].tolist() for name, at in states.items()}
        heads = _heads(requests, rows, side)
        for at, (row, name, args) in enumerate(heads):
            pool, begin, until = int(codes[row]), int(start[row]), int(end[row])
            tid = stays.tid[row] = lanes[pool].take(begin, until)
            pid = pids[pools[pool]]
            file.slice(f"{side} request", name, pid, tid, begin, until, args)
            open_state, since = None, begin
            for state, column in edges.items():
                if column[at] < 0 or column[at] > until:
                    continue
                if open_state is not None:
                    file.slice(side, open_state, pid, tid, since, max(column[at], since))
                open_state, since = f'"{state}"', max(column[at], since)
            if open_state is not None:
                file.slice(side, open_state, pid, tid, since, until)
    return stays


def write_transfers(file: TraceFile, requests: Requests, pids: Mapping[str, int]) -> None:
    """Write when the bytes of each request moved, into the process of the pool they went to."""
    times = requests.numbers
    start, landed = times["transfer_start_us"], times["landed_us"]
    # Of a transfer that was given up, no time of its last byte is known.
    over = np.maximum(times["ended_us"], times["prefill_ended_us"])
    end = np.where(landed >= 0, landed, np.where(over >= 0, over, requests.end_us))
    pools, codes = requests.words["decode_pool"]
    lanes = [_lanes(file, pids[pool], "bytes in") for pool in pools]
    room, pages, cached = (
        times[name] for name in ("bootstrap_room", "prompt_pages", "prefix_pages")
    )
    for rows in _chunks(start):
        names = requests.ids.take(pa.array(rows)).to_pylist()
        for row, name in zip(rows.tolist(), names, strict=True):
            if start[row] < 0 or end[row] <= start[row]:
                continue
            pool = int(codes[row])
            begin, until = int(start[row]), int(end[row])
            args = (
                f'{{"request":{quoted(name)},"room":{room[row]},"pages":{pages[row]},'
                f'"prefix_pages":{cached[row]},"landed":{"true" if landed[row] >= 0 else "false"}}}'
            )
            tid = lanes[pool].take(begin, until)
            file.slice("transfer", '"moving"', pids[pools[pool]], tid, begin, until, args)


def _prefill_states(requests: Requests, late: bool) -> dict[str, Integers]:
    """State -> when it began; a prompt waits for decode's pages first, where decode allocates first."""
    times = requests.numbers
    if late:
        waiting = {"prefill-waiting": times["arrival_us"]}
    else:
        waiting = {
            "bootstrap": times["arrival_us"],
            "prefill-waiting": times["preallocated_us"],
        }
    return {**waiting, **{state: times[column] for state, column in _PREFILL.items()}}


def _decode_states(requests: Requests) -> dict[str, Integers]:
    times = requests.numbers
    states = {state: times[column] for state, column in _DECODE.items()}
    # Who gives up and ends at once was never deferred.
    states["deferred"] = np.where(states["deferred"] == times["ended_us"], -1, states["deferred"])
    return {"prealloc": times["arrival_us"], **states}


def _heads(requests: Requests, rows: Integers, side: str) -> Iterator[tuple[int, str, str]]:
    """Of each row its number, its id as JSON, and what is known of it."""
    names = requests.ids.take(pa.array(rows)).to_pylist()
    columns = ("bootstrap_room", "input_tokens", "output_tokens", "prompt_pages", "prefix_pages")
    numbers = [requests.numbers[name][rows].tolist() for name in columns]
    words, codes = requests.words[f"{side}_state"]
    ends = [quoted(word) for word in words]
    for row, name, room, tokens, output, pages, prefix in zip(
        rows.tolist(), names, *numbers, strict=True
    ):
        yield (
            row,
            quoted(name),
            f'{{"room":{room},"prompt_tokens":{tokens},"output_tokens":{output},"pages":{pages},'
            f'"prefix_pages":{prefix},"last_state":{ends[codes[row]]}}}',
        )


def _chunks(start: Integers) -> Iterator[Integers]:
    """Rows in the order of their start, some at a time."""
    order = np.argsort(start, kind="stable")
    for at in range(0, len(order), _CHUNK_ROWS):
        yield order[at : at + _CHUNK_ROWS]


def _lanes(file: TraceFile, pid: int, name: str) -> Lanes:
    return Lanes(lambda number: file.thread(pid, f"{name} {number}"))


def pools_of(run: Mapping[str, Any]) -> list[str]:
    """The pools of a recording, in the order of run.json."""
    return [each["pool"] for each in run["pools"]]
