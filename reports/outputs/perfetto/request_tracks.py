"""The requests of a recording as slices, on both sides, and their bytes on the way.

A request is a slice from its arrival to its end, with its states (`replay.recording.requests`) in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from replay.recording.reader import Recording
from replay.recording.requests import TIME_COLUMNS, Side, StateTimes, Times, times_of
from reports.outputs.perfetto.trace_file import Lanes, TraceFile, quoted

Integers = Times

_NUMBERS = (
    "bootstrap_room",
    "input_tokens",
    "output_tokens",
    "prompt_pages",
    "prefix_pages",
    *TIME_COLUMNS,
)
_WORDS = ("prefill_pool", "decode_pool", "prefill_state", "decode_state")
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
    numbers = times_of(table, _NUMBERS)
    last_us = max(end_us, int(numbers["arrival_us"].max()))
    return Requests(table["request_id"], numbers, words, last_us)


def write_side(file: TraceFile, requests: Requests, side: Side, pids: Mapping[str, int]) -> Stays:
    """Write the requests of one side into their pools' processes.

    Args:
        file: where to.
        requests: whose.
        side: which half of each.
        pids: process of each pool.
    """
    times = requests.numbers
    states = StateTimes(times, side)
    ended = times["prefill_ended_us" if side == "prefill" else "ended_us"]
    start = times["arrival_us"]
    end = np.maximum(np.where(ended >= 0, ended, requests.end_us), start)
    stays = Stays(np.zeros(len(requests), np.int64), start, end)
    pools, codes = requests.words[f"{side}_pool"]
    lanes = [_lanes(file, pids[pool], "requests") for pool in pools]
    for rows in _chunks(start):
        heads = _heads(requests, rows, side)
        for (row, name, args), passed in zip(heads, states.stays(rows), strict=True):
            pool, begin, until = int(codes[row]), int(start[row]), int(end[row])
            tid = stays.tid[row] = lanes[pool].take(begin, until)
            pid = pids[pools[pool]]
            file.slice(f"{side} request", name, pid, tid, begin, until, args)
            for _, state, since, left in passed:
                file.slice(side, f'"{state}"', pid, tid, since, until if left is None else left)
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
