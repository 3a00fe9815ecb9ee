"""How many requests are in which queue at any moment, from the times that a recording has of them.

Each stay is from a time up to, but not including, another. Two things no recording says: a retracted
request counts as running until it has ended, and a prompt counts as waiting until its computation
begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from replay.recording.reader import Recording

Times = npt.NDArray[np.int64]

NEVER = np.iinfo(np.int64).max

_COLUMNS = (
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
    "input_tokens",
    "output_tokens",
    "prefix_pages",
    "bootstrap_room",
)
#: What is logged of an id: readers of logs look at the beginning of long lines only.
ID_CHARACTERS_MAX = 2_000
_WORDS = ("request_id", "prefill_pool", "decode_pool", "prefill_state", "decode_state")


class Presence:
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
        """Read those that were sent to a pool; some eighty bytes of memory a request.

        Raises:
            RecordingError: the table is missing or broken.
        """
        table = recording.table("requests")
        rows = np.flatnonzero(np.array(table[f"{side}_pool"].to_pylist(), dtype=object) == pool)
        mine = table.take(rows)
        numbers = {name: mine[name].to_numpy().astype(np.int64) for name in _COLUMNS}
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

    def first_of(self, *names: str) -> Times:
        """The earliest known of these times, NEVER where none is."""
        first: Times = np.minimum.reduce([self.time(name, NEVER) for name in names])
        return first

    def is_state(self, side: str, *states: str) -> npt.NDArray[np.bool_]:
        """Which ended in one of these states."""
        return np.array([state in states for state in self.words[f"{side}_state"]], dtype=bool)

    def presence(self, entered: Times, left: Times) -> Presence:
        """A queue of these requests."""
        return Presence(entered, left, self.numbers["input_tokens"])


@dataclass(frozen=True, slots=True)
class DecodeQueues:
    """The queues of one decode rank."""

    prealloc: Presence
    transfer: Presence
    waiting: Presence
    running: Presence
    #: Who has a slot of the request pool, leaked ones included.
    slots: Presence


def decode_queues(requests: Requests, profile: dict[str, Any]) -> DecodeQueues:
    """The queues of a decode rank from the times of its requests."""
    arrived = requests.numbers["arrival_us"]
    if profile["decode_allocates"] == "after-prefill":
        arrived = computed_us(requests, profile)
    ended = requests.time("ended_us", NEVER)
    lost = requests.is_state("decode", "lost")
    admitted = requests.numbers["preallocated_us"]
    held_from = np.where(lost & (admitted < 0), requests.numbers["ended_us"], admitted)
    return DecodeQueues(
        prealloc=requests.presence(arrived, requests.first_of("preallocated_us", "ended_us")),
        transfer=requests.presence(
            admitted, requests.first_of("consumed_us", "gave_up_us", "ended_us")
        ),
        waiting=requests.presence(
            requests.numbers["consumed_us"], requests.first_of("running_us", "ended_us")
        ),
        running=requests.presence(requests.numbers["running_us"], ended),
        slots=requests.presence(held_from, np.where(lost, NEVER, ended)),
    )


@dataclass(frozen=True, slots=True)
class PrefillQueues:
    """The queues of one prefill rank."""

    bootstrap: Presence
    waiting: Presence
    computing: Presence
    inflight: Presence


def prefill_queues(requests: Requests, profile: dict[str, Any]) -> PrefillQueues:
    """The queues of a prefill rank from the times of its requests."""
    arrived = requests.numbers["arrival_us"]
    ready = arrived
    if profile["decode_allocates"] == "before-prefill":
        told = requests.numbers["preallocated_us"]
        ready = np.where(told < 0, -1, told + profile["control_latency_us"])
    starts = requests.first_of("prefill_start_us", "prefill_ended_us")
    computed = computed_us(requests, profile)
    ended = requests.time("prefill_ended_us", NEVER)
    return PrefillQueues(
        bootstrap=requests.presence(arrived, np.minimum(np.where(ready < 0, NEVER, ready), starts)),
        waiting=requests.presence(ready, starts),
        computing=requests.presence(
            requests.numbers["prefill_start_us"],
            np.minimum(np.where(computed < 0, NEVER, computed), ended),
        ),
        inflight=requests.presence(computed, ended),
    )


def computed_us(requests: Requests, profile: dict[str, Any]) -> Times:
    """When each prompt was computed if nothing else shared its batches; -1 if that never began."""
    start = requests.numbers["prefill_start_us"]
    tokens = requests.numbers["input_tokens"] - (
        requests.numbers["prefix_pages"] * profile["page_size"]
    )
    batches = np.maximum(1, -(-tokens // profile["chunked_prefill_tokens"]))
    takes = batches * profile["prefill_step_us"]
    takes = takes + np.maximum(0, tokens) * profile["prefill_us_per_1k_tokens"] // 1000
    return np.where(start < 0, -1, start + takes)
