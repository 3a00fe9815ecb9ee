"""One request as the pair sees it, and the states it passes on each side.

decode    (absent ->) prealloc -> transfer -> waiting -> running -> finished
                         |           |           |        |  ^
                         |           |           |        v  |
                         |           |           |     retracted
                         +-----------+-----------+--> aborted | failed | lost (forgotten with
                                     |                its pages)
                                     +--> deferred (ended, but a writer may still write its pages)

prefill   bootstrap -> waiting -> running -> inflight -> done
              +-----------+----------+----------+--> dropped (aborted or failed)

Where decode allocates after prefill, a request is absent there, and skips bootstrap here, until its
prompt has been computed.
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
    """Where a request is on the decode side."""

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
    """Where a request is on the prefill side."""

    BOOTSTRAP = "bootstrap"
    WAITING = "waiting"
    RUNNING = "running"
    INFLIGHT = "inflight"
    DONE = "done"
    DROPPED = "dropped"


PREFILL_ENDED = frozenset({PrefillState.DONE, PrefillState.DROPPED})


class TransferState(Enum):
    """How far the bytes of a request have come."""

    NOT_STARTED = "not-started"
    MOVING = "moving"
    LANDED = "landed"


#: The states at which a fault may be aimed, as plans call them.
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

    #: When the rank last looked at what had come, -1 before that.
    polled_us: int

    def complete(
        self, request: Request, event: CompletionEvent, number: int, failed: bool
    ) -> Result:
        """Take one event in, by its number, and say what became of it."""

    def awaits(self, request: Request, event: CompletionEvent) -> bool:
        """Whether this event would tell it something new."""

    def in_room(self, room: int) -> Request | None:
        """The request that waits under this room, if any does."""

    def check_overdue(self, request: Request) -> None:
        """Every event of the request should be here by now; the next poll will tell."""

    def stall(self, request: Request) -> None:
        """Note that events are overdue, unless they are no longer waited for."""


class OpenTransfers(EventQueue, Protocol):
    """The transfers of a decode rank."""

    def fail(self, request: Request) -> None:
        """Conclude a transfer as failed from this side."""

    def metadata_landed(self, request: Request, slot: int, writer: int) -> bool:
        """Take a first token in; whether a completion had waited for it."""


class PromptsInFlight(EventQueue, Protocol):
    """The computed prompts of a prefill rank."""

    #: The acknowledgement that freed pages a second time, by event number, -1 when none has.
    freed_again_by_event: int

    def give_up(self, request: Request) -> None:
        """Release a prompt that nobody waits for."""

    def receive_misrouted(self, request: Request, number: int) -> Result:
        """Take in an acknowledgement that arrived as a receive completion."""


class Rank(Protocol):
    """The scheduler of one DP rank, as a request reaches it."""

    name: str
    instance: int
    dp_rank: int
    pool: KvPool

    def arrive(self, request: Request) -> None:
        """Take a new request in."""

    def abort(self, request: Request) -> None:
        """Take a client's abort in; it is seen at the next iteration."""

    def fail(self, request: Request) -> None:
        """Give the request up: the other side has dropped it, or it has waited too long."""


class DecodeSide(Rank, Protocol):
    """The rank that decodes a request."""

    needs_attention: bool

    @property
    def transfers(self) -> OpenTransfers:
        """Where it waits for completions."""

    def reject(self, request: Request) -> None:
        """Take a request in that can never fit."""

    def writer_stopped(self, request: Request) -> None:
        """Take in the sender's word that it writes this request's pages no more."""

    def deferral_ended(self, request: Request) -> None:
        """A release that was deferred can go ahead."""


class PrefillSide(Rank, Protocol):
    """The rank that computes a request's prompt."""

    @property
    def inflight(self) -> PromptsInFlight:
        """Where it waits for acknowledgements."""

    def metadata_arrived(self, request: Request) -> None:
        """Decode has pages for the request and says where."""

    def peer_gave_up(self, request: Request) -> None:
        """Take in decode's notice that it has given the request up."""

    def chunks_landed(self, request: Request) -> bool:
        """No byte of the request is on its way now; whether this rank must look at it."""

    def prompt_pages(self, request: Request, start: int, end: int) -> Array:
        """A copy of the prompt's pages at positions start .. end, int64 [end - start]."""

    def make_content(self, request: Request) -> None:
        """Work out what every page of the request should hold."""


@dataclass(slots=True, eq=False)
class Request:
    """One request in flight: its trace row, its place on both sides, and when it got there.

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
    #: What the TP ranks have been told of the transfer; None until decode has pages.
    receipt: Receipt | None = None
    metadata_slot: int = -1
    transfer_failed: bool = False
    #: The sender's word that it writes no more.
    sender_stopped: bool = False
    #: The completion that was the last one needed, by event number.
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
    #: Pages that the prefix cache had of the prompt when its computation began.
    prefix_pages: int = 0
    #: Leading pages of the row that the prefix cache owns.
    cached_pages: int = 0
    cancelled: bool = False
    awaiting_acknowledgements: set[int] = field(default_factory=set)
    #: Duplicates of what another request cached meanwhile, kept while they are still read.
    spare_pages: Array | None = None
    #: Pages given back by the first release, kept where a profile may release them again.
    released_pages: Array | None = None
    #: Decode has given the request up and waits for the word that nobody writes any more.
    peer_gave_up: bool = False
    #: Prefill released the prompt although not all of it had been read.
    released_early: bool = False
    #: The acknowledgement that let prefill release the prompt, by event number.
    released_by_event: int = -1

    # The bytes: content word of every page it will ever have, int64 [pages], on the device.
    content: Array | None = None
    transfer_state: TransferState = TransferState.NOT_STARTED
    #: Chunks whose bytes have not all landed.
    chunks_moving: int = 0
    #: Of the last chunk, the TP pairs' shares that have landed.
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
        """Make the tag of the first attempt."""
        self.tag = write_tag(self.ordinal, 0)

    def start_attempt(self) -> None:
        """Begin another attempt: what the last one wrote is no longer good."""
        self.epoch += 1
        self.tag = write_tag(self.ordinal, self.epoch)

    def drop_arrays(self) -> None:
        """Let go of arrays that nobody reads once both sides are done with the request."""
        self.content, self.block_hashes, self.cache_keys = None, None, None

    def rank_on(self, side: Direction) -> Rank:
        """Its rank on one side."""
        return self.decode if side == "decode" else self.prefill

    def state_on(self, side: Direction) -> str:
        """A `RequestState` of that side, or how the request has ended there."""
        if side == "prefill":
            return _PREFILL_STATES.get(self.prefill_state) or str(self.prefill_state.value)
        if self.decode_state is DecodeState.TRANSFER:
            return _TRANSFER_STATES[self.transfer_state]
        return str(self.decode_state.value)

    @property
    def writer(self) -> int:
        """Who a page is written by in this attempt, as `KvStorage` notes it."""
        return writer_code(self.ordinal, self.epoch)

    @property
    def prompt_pages(self) -> int:
        """Pages that its prompt takes on the decode side."""
        return self.decode.pool.pages_for(self.input_tokens)

    @property
    def decode_ended(self) -> bool:
        """Whether the client has its answer, or never will."""
        return self.decode_state in DECODE_ENDED

    @property
    def prefill_ended(self) -> bool:
        """Whether the prefill side is done with it."""
        return self.prefill_state in PREFILL_ENDED

    @property
    def has_ended(self) -> bool:
        """Whether both sides are done with it."""
        return self.decode_ended and self.prefill_ended


def decode_steps(output_tokens: int, overlap_schedule: bool) -> int:
    """Decode steps of a request whose first token came with the prompt.

    Where results are processed one iteration late, it runs once more before anybody notices.
    """
    return max(1, output_tokens - 1) + overlap_schedule
