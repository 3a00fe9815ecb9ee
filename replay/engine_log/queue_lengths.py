"""How many requests are in which queue at any moment, from the times that a recording has of them.

Each stay is from a time up to, but not including, another; `replay.recording.requests` says when.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.recording.reader import Recording
from replay.recording.requests import (
    NEVER,
    TIME_COLUMNS,
    RequestRow,
    StateTimes,
    Times,
    times_of,
)

_COLUMNS = (
    *TIME_COLUMNS,
    "cycle",
    "input_tokens",
    "output_tokens",
    "prompt_pages",
    "prefix_pages",
    "bootstrap_room",
)
#: Longer ids are cut: readers of logs examine only the beginning of long lines.
ID_CHARACTERS_MAX = 2_000
_WORDS = ("request_id", "prefill_pool", "decode_pool", "prefill_state", "decode_state")


class QueueLength:
    """Stays of requests in one queue; answers how many, and how many tokens of theirs."""

    def __init__(self, entered: Times, left: Times, tokens: Times) -> None:
        """Take stays with `left` NEVER where they do not end; those with a negative start are none."""
        stays = (entered >= 0) & (left > entered)
        order, leaving = np.argsort(entered[stays]), np.argsort(left[stays])
        self._entered, self._left = entered[stays][order], left[stays][leaving]
        self._tokens_in = np.concatenate(([0], np.cumsum(tokens[stays][order])))
        self._tokens_out = np.concatenate(([0], np.cumsum(tokens[stays][leaving])))

    def count(self, time_us: int) -> int:
        """Requests that are there at that time."""
        came, went = self._at(time_us)
        return came - went

    def tokens(self, time_us: int) -> int:
        """Prompt tokens of the requests that are there at that time."""
        came, went = self._at(time_us)
        return int(self._tokens_in[came] - self._tokens_out[went])

    def next_entry(self, time_us: int) -> int:
        """When the next one comes after that time, or NEVER."""
        at = int(np.searchsorted(self._entered, time_us, "right"))
        return int(self._entered[at]) if at < len(self._entered) else NEVER

    def _at(self, time_us: int) -> tuple[int, int]:
        came = int(np.searchsorted(self._entered, time_us, "right"))
        return came, int(np.searchsorted(self._left, time_us, "right"))


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one pool as columns."""

    numbers: dict[str, Times]
    words: dict[str, list[str]]

    @classmethod
    def of_pool(cls, recording: Recording, side: str, pool: str) -> Requests:
        """Read those that were sent to a pool; some hundred bytes of memory a request.

        Raises:
            RecordingError: the table is missing or broken.
        """
        table = recording.table("requests")
        rows = np.flatnonzero(np.array(table[f"{side}_pool"].to_pylist(), dtype=object) == pool)
        mine = table.take(rows)
        numbers = times_of(mine, _COLUMNS)
        words = {name: mine[name].to_pylist() for name in _WORDS}
        words["request_id"] = [each[:ID_CHARACTERS_MAX] for each in words["request_id"]]
        return cls(numbers, words)

    def __len__(self) -> int:
        """How many."""
        return len(self.words["request_id"])

    def time(self, name: str, absent: int = -1) -> Times:
        """A column of times with something else where it is not known."""
        column = self.numbers[name]
        return np.where(column < 0, absent, column)

    def rows(self) -> list[RequestRow]:
        """All of them as rows."""
        columns = {name: column.tolist() for name, column in self.numbers.items()} | self.words
        return [
            RequestRow(**dict(zip(columns, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        ]

    def queue(self, entered: Times, left: Times) -> QueueLength:
        """A queue of these requests."""
        return QueueLength(entered, left, self.numbers["input_tokens"])


@dataclass(frozen=True, slots=True)
class DecodeQueues:
    """The queues of one decode rank."""

    prealloc: QueueLength
    transfer: QueueLength
    waiting: QueueLength
    running: QueueLength
    #: Who has a slot of the request pool, leaked ones included.
    slots: QueueLength


def decode_queues(requests: Requests) -> DecodeQueues:
    """The queues of a decode rank from the times of its requests."""
    states = StateTimes(requests.numbers, "decode")
    ended, admitted = requests.numbers["ended_us"], requests.numbers["preallocated_us"]
    lost = np.array([state == "lost" for state in requests.words["decode_state"]], dtype=bool)
    held_from = np.where(lost & (admitted < 0), ended, admitted)
    return DecodeQueues(
        prealloc=requests.queue(*states.of("prealloc")),
        transfer=requests.queue(*states.of("transfer", "moving", "landed")),
        waiting=requests.queue(*states.of("waiting")),
        running=requests.queue(*states.of("running")),
        slots=requests.queue(held_from, np.where(lost | (ended < 0), NEVER, ended)),
    )


@dataclass(frozen=True, slots=True)
class PrefillQueues:
    """The queues of one prefill rank."""

    bootstrap: QueueLength
    waiting: QueueLength
    computing: QueueLength
    inflight: QueueLength


def prefill_queues(requests: Requests) -> PrefillQueues:
    """The queues of a prefill rank from the times of its requests."""
    states = StateTimes(requests.numbers, "prefill")
    return PrefillQueues(
        bootstrap=requests.queue(*states.of("bootstrap")),
        waiting=requests.queue(*states.of("prefill-waiting")),
        computing=requests.queue(*states.of("prefilling")),
        inflight=requests.queue(*states.of("in-flight")),
    )
