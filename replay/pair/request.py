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
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from faults.events import Direction, RequestState
from replay.pool.arrays import Array
from replay.pool.storage import write_tag, writer_code

if TYPE_CHECKING:
    from replay.pair.cache import RadixNode
    from replay.pair.decode_rank import DecodeRank
    from replay.pair.prefill_rank import PrefillRank
    from replay.pair.receipt import Receipt


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
    prefill: PrefillRank
    decode: DecodeRank
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
    def decode_ended(self) -> bool:
        """Whether the client has its answer, or never will."""
        return self.decode_state in DECODE_ENDED

    @property
    def prefill_ended(self) -> bool:
        """Whether the prefill side is done with it."""
        return self.prefill_state in PREFILL_ENDED


def decode_steps(output_tokens: int, overlap_schedule: bool) -> int:
    """Decode steps of a request whose first token came with the prompt.

    Where results are processed one iteration late, it runs once more before anybody notices.
    """
    return max(1, output_tokens - 1) + overlap_schedule
