"""What a fault rule is: which completion events or states it hits, and what it does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from faults.bursts import Burst
from faults.durations import Duration
from faults.events import Direction, RequestState

FaultKind = Literal[
    "drop",
    "delay",
    "duplicate",
    "reorder",
    "misroute",
    "early",
    "partial",
    "fail",
    "stale",
    "abort",
    "timeout",
]

#: One line of meaning for every fault kind, shown by `kvreplay faults`.
FAULT_MEANINGS: dict[FaultKind, str] = {
    "drop": "the event is lost and never arrives",
    "delay": "the event arrives `delay_us` later than it should, or not until something has happened",
    "duplicate": "the event arrives, and then again `copies` times, each after its `copy_delay_us`",
    "reorder": "the event is held for a random part of `window_us`, so that later ones overtake it",
    "misroute": "the event arrives elsewhere: as the other kind, on another rank, for another room",
    "early": "the event arrives up to `early_us` before its bytes have landed",
    "partial": "of all events of one transfer only those of `keep` TP ranks arrive",
    "fail": "the event arrives on time and says that the transfer failed; its bytes never land",
    "stale": "the event arrives, and once more after its pages or its room were given to another",
    "abort": "the client goes away while its request is in the state `when`",
    "timeout": "the engine's own timeout ends while the request is in the state `when`",
}

#: Faults that act on a request in a state rather than on a completion event.
AIMED_FAULTS: frozenset[FaultKind] = frozenset({"abort", "timeout"})

#: What a held event can wait for.
Condition = Literal["given-up", "released", "pages-reused", "room-reused", "heal"]

CONDITION_MEANINGS: dict[Condition, str] = {
    "given-up": "its receiver waits for it no more: aborted, failed or timed out",
    "released": "its receiver is done with the request and has released its pages",
    "pages-reused": "another request has been given one of its pages",
    "room-reused": "another transfer waits in its bootstrap room",
    "heal": "the inject phase is over",
}

#: Where a misrouted event arrives: as an event of the other kind, on the next DP rank of its
#: instance, or for the next room that its receiver serves.
Detour = Literal["kind", "rank", "room"]

#: What the n-th occurrence is counted over.
Scope = Literal["rule", "request", "session", "rank"]


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Which completion events (or states) a fault hits, and what becomes of them.

    Every condition given must hold; a condition left out always does. `probability` is drawn for
    each event that meets the other conditions, and `occurrences` counts those (1 is the first). Of a
    `partial` transfer the events are drawn for, and counted, together.
    """

    name: str
    fault: FaultKind
    direction: Direction = "decode"

    # Which.
    probability: float = 1.0
    occurrences: frozenset[int] | None = None
    occurrences_per: Scope = "rule"
    request_ids: frozenset[str] | None = None
    session_ids: frozenset[str] | None = None
    pools: frozenset[str] | None = None
    dp_ranks: frozenset[int] | None = None
    prefill_tp_ranks: frozenset[int] | None = None
    decode_tp_ranks: frozenset[int] | None = None
    states: frozenset[str] | None = None
    after_us: int | None = None
    before_us: int | None = None
    burst: Burst | None = None

    # What.
    delay_us: Duration = 0
    until: Condition | None = None
    copies: int = 1
    #: One number spaces the copies evenly; several give each its own; a distribution draws each.
    copy_delay_us: Duration | tuple[int, ...] = 1_000
    window_us: int = 0
    to: Detour = "kind"
    #: None is as soon as the last bytes are on their way.
    early_us: int | None = None
    keep: int = 1
    when: RequestState | None = None

    @property
    def is_aimed(self) -> bool:
        """Whether it acts on a request in a state rather than on a completion event."""
        return self.fault in AIMED_FAULTS


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The rules of one replay, in no particular order: none depends on another."""

    rules: tuple[FaultRule, ...] = ()
    comment: str = ""
    #: Where the plan was read from, for the line that reproduces a run; empty for shortcuts.
    source: str = ""
