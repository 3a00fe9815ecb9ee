"""What a fault rule is, and what it is shown: one completion event at a time.

A completion event travels in one of two directions. `decode`: "the KV of this request has arrived",
told to a decode TP rank. `prefill`: "your bytes were taken", the acknowledgement told to a prefill
TP rank, which frees the pages there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["decode", "prefill"]
FaultKind = Literal["drop", "delay", "duplicate", "fail", "misroute"]

#: One line of meaning for every fault kind, shown by `kvreplay faults`.
FAULT_MEANINGS: dict[FaultKind, str] = {
    "drop": "the event is lost and never arrives",
    "delay": "the event arrives delay_us later than it should",
    "duplicate": "the event arrives, and then again `copies` times, copy_delay_us apart",
    "fail": "the event arrives on time and says that the transfer failed; its bytes never land",
    "misroute": "the event arrives as one of the other kind: an acknowledgement as a receive",
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

    @property
    def identity(self) -> str:
        """What random decisions are keyed by: nothing that another request or rule could shift."""
        return (
            f"{self.request_id}\x1f{self.direction}\x1f{self.prefill_tp_rank}"
            f"\x1f{self.decode_tp_rank}"
        )


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Which completion events a fault hits, and what becomes of them.

    Every condition given must hold; a condition left out always does. `probability` is drawn for
    each event that meets the other conditions, and `occurrences` counts those (1 is the first).
    """

    name: str
    fault: FaultKind
    direction: Direction = "decode"
    probability: float = 1.0
    occurrences: frozenset[int] | None = None
    request_ids: frozenset[str] | None = None
    dp_ranks: frozenset[int] | None = None
    prefill_tp_ranks: frozenset[int] | None = None
    decode_tp_ranks: frozenset[int] | None = None
    after_us: int | None = None
    before_us: int | None = None
    delay_us: int = 0
    copies: int = 1
    copy_delay_us: int = 1_000

    def covers(self, event: CompletionEvent) -> bool:
        """Whether the event meets every condition but occurrence and probability."""
        return (
            self.direction == event.direction
            and (self.request_ids is None or event.request_id in self.request_ids)
            and (self.dp_ranks is None or event.dp_rank in self.dp_ranks)
            and (self.prefill_tp_ranks is None or event.prefill_tp_rank in self.prefill_tp_ranks)
            and (self.decode_tp_ranks is None or event.decode_tp_rank in self.decode_tp_ranks)
            and (self.after_us is None or event.sent_us >= self.after_us)
            and (self.before_us is None or event.sent_us < self.before_us)
        )


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The rules of one replay, in no particular order: none depends on another."""

    rules: tuple[FaultRule, ...] = ()
    comment: str = ""
    #: Where the plan was read from, for the line that reproduces a run; empty for shortcuts.
    source: str = ""
