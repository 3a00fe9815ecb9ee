"""One request in the pair, and its states on each side.

decode    (absent ->) prealloc -> transfer -> waiting -> running -> finished
                         |           |           |        |  ^
                         |           |           |        v  |
                         |           |           |     retracted
                         +-----------+-----------+--> aborted | failed | lost (forgotten with
                                     |                its pages)
                                     +--> deferred (ended, but a writer may still write its pages)

prefill   bootstrap -> waiting -> running -> inflight -> done
              +-----------+----------+----------+--> dropped (aborted or failed)

If decode allocates after prefill, a request is absent from decode until its prompt has been
computed, and skips bootstrap on prefill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from faults.events import CompletionEvent, Direction, RequestState
from replay.pair.cache import RadixNode
from replay.pair.receipt import Receipt
from replay.pool.arrays import Array
from replay.pool.pool import KvPool
from replay.pool.storage import write_tag, writer_code
from replay.recording.event_results import Result


class DecodeState(Enum):
    """State of a request on the decode side."""

    ABSENT = "absent"
    PREALLOC = "prealloc"
    TRANSFER = "transfer"
    WAITING = "waiting"
    RUNNING = "running"
    RETRACTED = "retracted"
    DEFERRED = "deferred"
    FINISHED = "finished"
    ABORTED = "aborted"
    FAILED = "failed"
    LOST = "lost"


DECODE_ENDED = frozenset(
    {DecodeState.FINISHED, DecodeState.ABORTED, DecodeState.FAILED, DecodeState.LOST}
)


class PrefillState(Enum):
    """State of a request on the prefill side."""

    BOOTSTRAP = "bootstrap"
    WAITING = "waiting"
    RUNNING = "running"
    INFLIGHT = "inflight"
    DONE = "done"
    DROPPED = "dropped"


PREFILL_ENDED = frozenset({PrefillState.DONE, PrefillState.DROPPED})


class TransferState(Enum):
    """Progress of the bytes of a request."""

    NOT_STARTED = "not-started"
    MOVING = "moving"
    LANDED = "landed"


#: The states at which a fault can be aimed, by their names in plans.
_TRANSFER_STATES: dict[TransferState, RequestState] = {
    TransferState.NOT_STARTED: "transfer",
    TransferState.MOVING: "moving",
    TransferState.LANDED: "landed",
}
_PREFILL_STATES: dict[PrefillState, RequestState] = {
    PrefillState.BOOTSTRAP: "bootstrap",
    PrefillState.WAITING: "prefill-waiting",
    PrefillState.RUNNING: "prefilling",
    PrefillState.INFLIGHT: "in-flight",
}


class EventQueue(Protocol):
    """Where the requests of a rank wait for completion events of one direction."""

    #: Time at which the rank last processed its events, -1 before the first.
    polled_us: int

    def complete(
        self, request: Request, event: CompletionEvent, number: int, failed: bool
    ) -> Result:
        """Process one event, by its number, and return the outcome."""

    def awaits(self, request: Request, event: CompletionEvent) -> bool:
        """Whether this event would change anything."""

    def in_room(self, room: int) -> Request | None:
        """Return the request that waits under this room, if any."""

    def check_overdue(self, request: Request) -> None:
        """Check at the next poll that every event of the request has arrived."""

    def stall(self, request: Request) -> None:
        """Record overdue events, if they are still expected."""


class OpenTransfers(EventQueue, Protocol):
    """The transfers of a decode rank."""

    def fail(self, request: Request) -> None:
        """End a transfer as failed from this side."""

    def metadata_landed(self, request: Request, slot: int, writer: int) -> bool:
        """Accept a first token; return whether a completion was waiting for it."""


class PromptsInFlight(EventQueue, Protocol):
    """The computed prompts of a prefill rank."""

    #: The acknowledgement that freed pages a second time, by event number, -1 if there is none.
    freed_again_by_event: int

    def give_up(self, request: Request) -> None:
        """Release a prompt that is no longer needed."""

    def receive_misrouted(self, request: Request, number: int) -> Result:
        """Process an acknowledgement that arrived as a receive completion."""


class Rank(Protocol):
    """The scheduler of one DP rank, as a request reaches it."""

    name: str
    instance: int
    dp_rank: int
    pool: KvPool

    def arrive(self, request: Request) -> None:
        """Accept a new request."""

    def abort(self, request: Request) -> None:
        """Accept a client's abort, which is processed in the next iteration."""

    def fail(self, request: Request) -> None:
        """Give up the request: the other side has dropped it, or it has waited too long."""


class DecodeSide(Rank, Protocol):
    """The rank that decodes a request."""

    needs_attention: bool

    @property
    def transfers(self) -> OpenTransfers:
        """The queue in which requests wait for completions."""

    def reject(self, request: Request) -> None:
        """Accept a request that can never fit."""

    def writer_stopped(self, request: Request) -> None:
        """Accept the sender's notice that it no longer writes this request's pages."""

    def deferral_ended(self, request: Request) -> None:
        """Perform a deferred release."""


class PrefillSide(Rank, Protocol):
    """The rank that computes a request's prompt."""

    @property
    def inflight(self) -> PromptsInFlight:
        """The queue in which prompts wait for acknowledgements."""

    def metadata_arrived(self, request: Request) -> None:
        """Accept decode's notice of the pages it has allocated for the request."""

    def peer_gave_up(self, request: Request) -> None:
        """Accept decode's notice that it has given up the request."""

    def chunks_landed(self, request: Request) -> bool:
        """All chunks in transfer have landed; return whether this rank must process the request."""

    def prompt_pages(self, request: Request, start: int, end: int) -> Array:
        """Return a copy of the prompt's pages at positions start .. end, int64 [end - start]."""

    def make_content(self, request: Request) -> None:
        """Compute the expected content of every page of the request."""


@dataclass(slots=True, eq=False)
class Request:
    """One request in the pair: its trace row, its state on both sides, and its times.

    Times are virtual microseconds, -1 until they are known.
    """

    ordinal: int
    request_id: str
    cycle: int
    arrival_us: int
    input_tokens: int
    output_tokens: int
    block_hashes: npt.NDArray[np.uint64] | None
    cancel_us: int | None
    room: int
    prefill: PrefillSide
    decode: DecodeSide
    session_id: str | None = None

    # Decode side.
    decode_state: DecodeState = DecodeState.ABSENT
    decode_row: int = -1
    #: Tokens whose KV the decode pool holds for this request.
    kv_tokens: int = 0
    #: Decode iterations still to run.
    steps_left: int = 0
    #: Attempt number, and the tag that its decode pages carry in this attempt.
    epoch: int = 0
    tag: int = 0
    #: The completions of the TP ranks; None until decode has pages.
    receipt: Receipt | None = None
    metadata_slot: int = -1
    transfer_failed: bool = False
    #: Whether the sender has confirmed that it no longer writes.
    sender_stopped: bool = False
    #: The last completion that was needed, by event number.
    completed_by_event: int = -1

    # Prefill side.
    prefill_state: PrefillState = PrefillState.BOOTSTRAP
    prefill_row: int = -1
    cache_node: RadixNode | None = None
    #: Identity of each whole cache unit of the prompt; None until prefill looks it up.
    cache_keys: Sequence[int] | None = None
    prefilled_tokens: int = 0
    prefill_pages: int = 0
    #: Prompt pages sent off so far.
    sent_pages: int = 0
    #: Pages of the prompt in the prefix cache when its computation began.
    prefix_pages: int = 0
    #: Leading pages of the row that the prefix cache owns.
    cached_pages: int = 0
    cancelled: bool = False
    awaiting_acknowledgements: set[int] = field(default_factory=set)
    #: Duplicates of pages that another request cached in the meantime, kept while they are still read.
    spare_pages: Array | None = None
    #: Pages freed by the first release, kept if the profile may release them again.
    released_pages: Array | None = None
    #: Decode has given up the request and waits for the notice that its pages are no longer written.
    peer_gave_up: bool = False
    #: Prefill released the prompt before all of it had been read.
    released_early: bool = False
    #: The acknowledgement that let prefill release the prompt, by event number.
    released_by_event: int = -1

    # The bytes: content word of every page it will have, int64 [pages], on the device.
    content: Array | None = None
    transfer_state: TransferState = TransferState.NOT_STARTED
    #: Chunks whose bytes have not all landed.
    chunks_moving: int = 0
    #: The TP pairs' shares of the last chunk that have landed.
    shares_landed: int = 0

    # When.
    prealloc_us: int = -1
    preallocated_us: int = -1
    prefill_waiting_us: int = -1
    prefill_start_us: int = -1
    in_flight_us: int = -1
    transfer_start_us: int = -1
    landed_us: int = -1
    consumed_us: int = -1
    running_us: int = -1
    gave_up_us: int = -1
    ended_us: int = -1
    prefill_ended_us: int = -1

    def __post_init__(self) -> None:
        """Compute the tag of the first attempt."""
        self.tag = write_tag(self.ordinal, 0)

    def start_attempt(self) -> None:
        """Begin another attempt, which makes the bytes of the previous one invalid."""
        self.epoch += 1
        self.tag = write_tag(self.ordinal, self.epoch)

    def drop_arrays(self) -> None:
        """Drop arrays that are not needed after both sides have ended the request."""
        self.content, self.block_hashes, self.cache_keys = None, None, None

    def rank_on(self, side: Direction) -> Rank:
        """Its rank on one side."""
        return self.decode if side == "decode" else self.prefill

    def state_on(self, side: Direction) -> str:
        """The `RequestState` of that side, or the way the request ended there."""
        if side == "prefill":
            return _PREFILL_STATES.get(self.prefill_state) or str(self.prefill_state.value)
        if self.decode_state is DecodeState.TRANSFER:
            return _TRANSFER_STATES[self.transfer_state]
        return str(self.decode_state.value)

    @property
    def writer(self) -> int:
        """The writer code of pages in this attempt, as recorded by `KvStorage`."""
        return writer_code(self.ordinal, self.epoch)

    @property
    def prompt_pages(self) -> int:
        """Number of pages of its prompt on the decode side."""
        return self.decode.pool.pages_for(self.input_tokens)

    @property
    def decode_ended(self) -> bool:
        """Whether the decode side has ended the request, with or without an answer."""
        return self.decode_state in DECODE_ENDED

    @property
    def prefill_ended(self) -> bool:
        """Whether the prefill side has ended the request."""
        return self.prefill_state in PREFILL_ENDED

    @property
    def has_ended(self) -> bool:
        """Whether both sides have ended the request."""
        return self.decode_ended and self.prefill_ended


def decode_steps(output_tokens: int, overlap_schedule: bool) -> int:
    """Return the decode steps of a request whose first token came with the prompt.

    If results are processed one iteration late, it runs one more step.
    """
    return max(1, output_tokens - 1) + overlap_schedule
