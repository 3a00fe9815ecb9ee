r"""Where requests are, and when: the rows of requests.parquet as states with a beginning and an end.

    prefill   (bootstrap ->) prefill-waiting -> prefilling -> in-flight
    decode    (absent ->) prealloc -> transfer -> moving -> landed -> waiting -> running
                                          \________________________________/
                                                          `--> deferred

This is the only definition: explanations, swim lanes, trace files and servers' logs all read it. The
states are those that faults aim at (`faults.events.RequestState`), and begin when the engine's queues
say so: a prompt is `in-flight` from the moment it is computed and prefill holds it, and a request is
`absent` from decode until prefill offers it, where decode allocates after prefill. A retracted request
counts as running, because no column says when it came back.

A column has the time at which something happened, -1 where it never did. Some happen out of order: a
completion that is believed early is consumed before the bytes land. A request only ever goes on, so the
time of a state behind the one it is in does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Times = npt.NDArray[np.int64]
Side = Literal["prefill", "decode"]
SIDES: tuple[Side, Side] = ("prefill", "decode")
#: The end of what does not end, and the beginning of what never begins.
NEVER = np.iinfo(np.int64).max

#: Columns that states are made of.
TIME_COLUMNS = (
    "arrival_us",
    "prealloc_us",
    "preallocated_us",
    "prefill_waiting_us",
    "prefill_start_us",
    "in_flight_us",
    "transfer_start_us",
    "landed_us",
    "consumed_us",
    "running_us",
    "gave_up_us",
    "ended_us",
    "prefill_ended_us",
)


#: State -> the column with its beginning, in the order in which requests pass them.
BEGINS: dict[Side, dict[str, str]] = {
    "prefill": {
        "bootstrap": "arrival_us",
        "prefill-waiting": "prefill_waiting_us",
        "prefilling": "prefill_start_us",
        "in-flight": "in_flight_us",
    },
    "decode": {
        "absent": "arrival_us",
        "prealloc": "prealloc_us",
        "transfer": "preallocated_us",
        "moving": "transfer_start_us",
        "landed": "landed_us",
        "waiting": "consumed_us",
        "running": "running_us",
        "deferred": "gave_up_us",
    },
}
_ENDED: dict[Side, str] = {"prefill": "prefill_ended_us", "decode": "ended_us"}


class Stay(NamedTuple):
    """A request in one state; `end_us` is None where it never left."""

    side: Side
    state: str
    start_us: int
    end_us: int | None


class StateTimes:
    """When each of many requests came into each state of one side, and when it left.

    Args:
        times: the `TIME_COLUMNS` of the requests, each int64 [n].
        side: which half of the pair.
    """

    def __init__(self, times: Mapping[str, Times], side: Side) -> None:
        self.side = side
        self.states = tuple(BEGINS[side])
        ended = _or_never(times[_ENDED[side]])
        self._starts = np.stack([_or_never(times[column]) for column in BEGINS[side].values()])
        if side == "decode":
            # Who is told of at once was never absent, who gives up and ends at once never deferred.
            self._starts[0, self._starts[0] == self._starts[1]] = NEVER
            self._starts[-1, self._starts[-1] == ended] = NEVER
        #: For each state the first time at which its request is in a later one, or has ended.
        self._ends = np.stack([*self._starts[1:], ended])
        self._ends = np.minimum.accumulate(self._ends[::-1])[::-1]

    def of(self, *states: str) -> tuple[Times, Times]:
        """When requests came into these states, which follow each other, and when they left.

        int64 [n] both; `NEVER` where they never came, or never left. A request can leave at the time at
        which it came.
        """
        at = [self.states.index(state) for state in states]
        came = np.where(self._starts <= self._ends, self._starts, NEVER)[at].min(axis=0)
        left = self._ends[at[-1]]
        return np.where(came <= left, came, NEVER), left

    def stays(self, rows: Times) -> Iterator[tuple[Stay, ...]]:
        """The states that each of these requests passed, in order."""
        starts, ends = self._starts[:, rows].T.tolist(), self._ends[:, rows].T.tolist()
        for each in zip(starts, ends, strict=True):
            yield tuple(
                Stay(self.side, state, start, None if end == NEVER else end)
                for state, start, end in zip(self.states, *each, strict=True)
                if start != NEVER and start <= end
            )


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One row of requests.parquet. Times are virtual microseconds, -1 where unknown."""

    request_id: str
    cycle: int
    bootstrap_room: int
    prefill_pool: str
    decode_pool: str
    input_tokens: int
    output_tokens: int
    prompt_pages: int
    prefix_pages: int
    prefill_state: str
    decode_state: str
    arrival_us: int
    prealloc_us: int
    preallocated_us: int
    prefill_waiting_us: int
    prefill_start_us: int
    in_flight_us: int
    transfer_start_us: int
    landed_us: int
    consumed_us: int
    running_us: int
    gave_up_us: int
    ended_us: int
    prefill_ended_us: int

    @classmethod
    def of_rows(cls, rows: pa.Table | pa.RecordBatch) -> list[RequestRow]:
        """Some rows of the table, in their order."""
        columns = [rows[field.name].to_pylist() for field in fields(cls)]
        return [cls(*row) for row in zip(*columns, strict=True)]

    def stays(self, side: Side) -> tuple[Stay, ...]:
        """The states that it passed on one side, in order."""
        times = {name: np.array([getattr(self, name)], np.int64) for name in TIME_COLUMNS}
        (stays,) = StateTimes(times, side).stays(np.zeros(1, np.int64))
        return stays

    def state(self, side: Side) -> str:
        """How it ended on that side, or where it still is."""
        return self.prefill_state if side == "prefill" else self.decode_state

    def pool(self, side: Side) -> str:
        """The rank that has it on that side."""
        return self.prefill_pool if side == "prefill" else self.decode_pool


def side_of(pool: str) -> Side:
    """The side of a pool by its name."""
    return "prefill" if pool.startswith("prefill") else "decode"


def times_of(
    rows: pa.Table | pa.RecordBatch, names: Iterable[str] = TIME_COLUMNS
) -> dict[str, Times]:
    """Columns of whole numbers, int64 [n] each."""
    return {name: rows[name].to_numpy(zero_copy_only=False).astype(np.int64) for name in names}


def _or_never(times: Times) -> Times:
    return np.where(times < 0, NEVER, times)
