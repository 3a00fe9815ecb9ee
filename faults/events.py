"""What a fault rule is shown: completion events as they are sent, requests as they change state.

A completion event travels in one of two directions. `decode`: "the KV of this request has arrived",
told to a decode TP rank. `prefill`: "your bytes were taken", the acknowledgement told to a prefill
TP rank, which frees the pages there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Direction = Literal["decode", "prefill"]

#: Where a request is on the decode side, in the order in which it gets there.
DecodeMoment = Literal[
    "prealloc", "transfer", "moving", "landed", "waiting", "running", "retracted", "deferred"
]
#: Where it is on the prefill side.
PrefillMoment = Literal["bootstrap", "prefill-waiting", "prefilling", "in-flight"]
RequestState: TypeAlias = DecodeMoment | PrefillMoment

#: One line of meaning for each state.
STATE_MEANINGS: dict[RequestState, str] = {
    "prealloc": "decode: it waits for pages",
    "transfer": "decode: it has pages, and no byte has moved",
    "moving": "decode: its bytes are on their way",
    "landed": "decode: its last byte has landed, and its completion is not consumed yet",
    "waiting": "decode: its KV is here, and it is not batched yet",
    "running": "decode: it is in the running batch",
    "retracted": "decode: its pages were taken back, and it waits for new ones",
    "deferred": "decode: it was given up, and its pages wait for their writer",
    "bootstrap": "prefill: it waits for decode's pages",
    "prefill-waiting": "prefill: it waits for a batch",
    "prefilling": "prefill: its prompt is being computed",
    "in-flight": "prefill: its prompt is computed, and held until it is acknowledged",
}
DECODE_STATES: tuple[str, ...] = get_args(DecodeMoment)
PREFILL_STATES: tuple[str, ...] = get_args(PrefillMoment)

#: Where a receiver can have a request when an event is sent to it: in a state, or ended.
STATES_OF_RECEIVERS: dict[Direction, tuple[str, ...]] = {
    "decode": (*DECODE_STATES, "finished", "aborted", "failed", "lost"),
    "prefill": (*PREFILL_STATES, "done", "dropped"),
}


@dataclass(frozen=True, slots=True)
class CompletionEvent:
    """One completion event as it is sent; `request_id` to `decode_tp_rank` are its identity."""

    request_id: str
    direction: Direction
    prefill_tp_rank: int
    decode_tp_rank: int
    #: Pool name of the receiver, such as `decode0/dp3`, and its DP rank.
    pool: str
    dp_rank: int
    bootstrap_room: int
    pages: int
    sent_us: int
    #: When a healthy channel delivers it.
    due_us: int
    session_id: str | None = None
    #: Where the request is on the receiver's side: a `RequestState`, or how it has ended there.
    state: str = ""
    #: Which of how many events of this transfer in this direction it is, from 0.
    part: int = 0
    parts: int = 1
    #: DP ranks of the receiving instance, and the next room that the receiver serves.
    dp_ranks: int = 1
    next_room: int = 0

    @property
    def at_us(self) -> int:
        """When it is sent: the time of a rule's conditions."""
        return self.sent_us

    @property
    def identity(self) -> str:
        """What random decisions are keyed by: nothing that another request or rule could shift."""
        return (
            f"{self.request_id}\x1f{self.direction}\x1f{self.prefill_tp_rank}"
            f"\x1f{self.decode_tp_rank}"
        )

    @property
    def transfer_identity(self) -> str:
        """The same for all events of one transfer in one direction."""
        return f"{self.request_id}\x1f{self.direction}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A request comes into a state: the moment at which an abort or a timeout can be aimed."""

    request_id: str
    session_id: str | None
    state: RequestState
    pool: str
    dp_rank: int
    at_us: int

    @property
    def identity(self) -> str:
        """What random decisions are keyed by. A state entered again (retracted) has the same."""
        return f"{self.request_id}\x1fis {self.state}"
