"""The words of a recording and of its verdict, each spelled once. Imports nothing that takes time."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

#: What a verdict can be, and the sign that it is printed with.
VerdictName = Literal["clean", "transient", "persistent", "inconclusive"]
VERDICT_SIGNS: dict[str, str] = {
    "clean": "=",
    "transient": "~",
    "persistent": "!",
    "inconclusive": "?",
}
#: How a gap that stays develops over clean cycles, and how many of them it takes to tell.
GrowthName = Literal["one-off", "growing"]
GROWTH_CYCLES_MIN = 3
#: The largest gap that `kvreplay reproduce` makes: its subset-sum keeps two bytes for each page.
GAP_PAGES_MAX = 100_000_000
#: What is wrong with pages: those of a gap, and those that no count misses.
GapKind = Literal["held", "stuck", "orphaned", "cache-held", "over-freed", "counter-drift"]
UncountedKind = Literal["stale-write", "premature-free", "double-owned", "check-false-alarm"]
KindName = Literal[GapKind, UncountedKind]
#: Whether pages are missing, or more are free than exist.
DirectionName = Literal["leak", "over-free"]


class Outcome(StrEnum):
    """What became of the delivery of an event, or of an abort or timeout aimed at a state."""

    #: Counted, or acted upon; the second also although that had been done before.
    ACCEPTED = "accepted"
    ACCEPTED_AGAIN = "accepted-again"
    #: Nobody waited for it, or not any more.
    IGNORED = "ignored"
    #: Believed only once its bytes land.
    KEPT = "kept"
    #: A failure that the engine cannot see, because a success came first.
    MASKED = "masked"
    #: It would have killed the scheduler.
    CRASHED = "crashed"
    #: It never came: dropped on its way, or still under way when the replay ended.
    LOST = "lost"
    UNDELIVERED = "undelivered"
    #: The aimed faults: the client left; the wait ended; the wait began anew; the state had passed.
    ABORTED = "aborted"
    TIMED_OUT = "timed-out"
    EXTENDED = "extended"
    MISSED = "missed"


#: Outcomes by which the receiver took the event.
TAKEN = (Outcome.ACCEPTED, Outcome.ACCEPTED_AGAIN)


class ShareKind(StrEnum):
    """Why a request's pages are in the gap, as owners.parquet says it."""

    STALLED = "stalled"
    CACHE_HELD = "cache-held"
    DEPARTED = "departed"
    OVER_FREED = "over-freed"
    COUNTER_DRIFT = "counter-drift"


class PageState(StrEnum):
    """What a page of a pool can be doing, as pages.parquet says it.

    From the most ordinary to the worst; those of a request in the gap are called as its share.
    """

    FREE = "free"
    EVICTABLE = "evictable"
    PROTECTED = "protected"
    RUNNING = "running"
    TRANSFER = "transfer"
    STALLED = ShareKind.STALLED
    CACHE_HELD = ShareKind.CACHE_HELD
    DEPARTED = ShareKind.DEPARTED
    OVER_FREED = ShareKind.OVER_FREED
    DOUBLE_OWNED = "double-owned"


@dataclass(frozen=True, slots=True)
class LedgerViolations:
    """How many pages were handled in a way that no correct engine would let them."""

    acquired_while_owned: int
    released_by_another: int
    #: A transfer wrote into pages, or read out of pages, that were not its request's any more.
    written_by_another: int = 0
    read_by_another: int = 0
    #: First-token buffers that a transfer wrote after they had been given back.
    slots_written_by_another: int = 0

    @property
    def total(self) -> int:
        """All violations together, in pages."""
        return sum(astuple(self))

    def __add__(self, other: LedgerViolations) -> LedgerViolations:
        """The violations of two pools."""
        return LedgerViolations(
            *(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        )


class StateWords(NamedTuple):
    """A state of a request: a word or two that fit a bar, and how a step that begins it is told."""

    label: str
    begins: str


#: State -> its words: those that faults are aimed at, whose meanings are `faults.events.STATE_MEANINGS`,
#: and the one in which decode does not know of a request yet. In the order in which requests pass them.
STATES = {
    "bootstrap": StateWords("bootstrap", "arrives, and waits for decode's pages"),
    "prefill-waiting": StateWords("waiting", "waits for its prompt's turn"),
    "prefilling": StateWords("prefilling", "its prompt is being computed"),
    "in-flight": StateWords(
        "in flight", "its prompt is computed, and held until it is acknowledged"
    ),
    "absent": StateWords("not yet", "decode is not told of it before its prompt is computed"),
    "prealloc": StateWords("wants pages", "waits for pages"),
    "transfer": StateWords("has pages", "has its pages, and prefill is told which"),
    "moving": StateWords("bytes move", "its bytes begin to move"),
    "landed": StateWords("landed", "its last bytes land"),
    "waiting": StateWords("waiting", "its KV is here, and it waits for the running batch"),
    "running": StateWords("running", "decodes"),
    "retracted": StateWords("retracted", "gives its pages back until there is more room"),
    "deferred": StateWords(
        "given up", "is given up, and its pages are kept until nobody writes them"
    ),
}


class EndWords(NamedTuple):
    """A way in which a side can be done with a request."""

    #: In a word; as the rest of a sentence about the request; as a step of its life.
    label: str
    sentence: str
    step: str
    #: Whether a healthy life ends so.
    is_healthy: bool = False


#: How decode can be done with a request, and prefill.
DECODE_ENDS = {
    "finished": EndWords("finished", "finished", "ends: finished", is_healthy=True),
    "aborted": EndWords("aborted", "was aborted", "ends: aborted"),
    "lost": EndWords(
        "forgotten", "was forgotten with its pages", "is forgotten, with the pages it holds"
    ),
    "failed": EndWords("failed", "failed", "ends: its transfer failed"),
}
PREFILL_ENDS = {
    "done": EndWords(
        "done", "was taken", "its prompt was taken; prefill is done with it", is_healthy=True
    ),
    "dropped": EndWords("dropped", "was dropped", "its prompt is dropped"),
}
ENDS = DECODE_ENDS | PREFILL_ENDS
DECODE_ENDED, PREFILL_ENDED = tuple(DECODE_ENDS), tuple(PREFILL_ENDS)
