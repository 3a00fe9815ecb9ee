"""What the lines of a server's log say, whichever engine wrote them.

    bytes of logs -> replay/diagnosis reading -> these records, in the order of the log -> judging

`gap = total - (available + evictable + protected + session_held + uncached)`, as in an audit: positive
when something is missing, negative when more is free than there is. Counts are tokens for pools of KV
(`full`, `swa`), slots for `req_to_token` and `mamba`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Pools that are counted in tokens; the others are counted in requests.
TOKEN_POOLS = ("full", "swa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The source of a record: log, line, time, engine and rank."""

    #: The file as the user named it; `-` is standard input.
    source: str
    #: Counted from 1.
    line: int
    #: Seconds since some fixed moment, comparable within one source; None where the line has no time.
    time_s: float | None
    #: That time as the log has it, made ISO 8601 where the line allows; None where it has none.
    time: str | None
    #: Ranks as engines tag them, such as "DP6 TP6 EP6"; empty where untagged.
    rank: str
    #: sglang, sglang-jax, vllm, vllm-ascend, trtllm or lmcache.
    engine: str
    #: Which of several servers in one log said it, where a collector tells them apart: a pod, a
    #: container, a file that grep named; empty elsewhere. Ranks count within an instance.
    instance: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """An accounting check of one pool that an engine wrote out."""

    place: Place
    #: full, swa, mamba or req_to_token.
    pool: str
    #: Never includes evictable.
    available: int
    evictable: int
    protected: int
    session_held: int
    uncached: int
    total: int
    #: Whether requests were running at that moment (the engines' busy checks).
    busy: bool
    #: Whether the engine raised (and died) rather than warned.
    raised: bool
    #: The line's own number where it includes evictable: until sglang 0.5.2.
    printed_available: int | None = None

    @property
    def gap(self) -> int:
        """Tokens missing; negative when there are too many."""
        accounted = self.available + self.evictable + self.protected
        return self.total - (accounted + self.session_held + self.uncached)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How full a pool is and how much work there is: status lines and scraped metrics.

    None is what the line does not say.
    """

    place: Place
    pool: str
    #: Whether it was scraped: then equal ones are different moments, with or without times.
    scraped: bool = False
    #: Share of the pool in use, 0 to 1.
    usage: float | None = None
    used_tokens: int | None = None
    #: Size of the pool, where it is scraped beside.
    total_tokens: int | None = None
    running: int | None = None
    #: Requests of the prefill batch that the line announces: it is not idle, whatever `running` is.
    prefilling: int | None = None
    #: Requests waiting to be taken up.
    queued: int | None = None
    #: Decode: requests that wait for pages, and for their KV.
    prealloc: int | None = None
    transferring: int | None = None
    #: Share of the pool that is allocated to requests whose KV has not arrived.
    preallocated_usage: float | None = None
    #: Prefill: prompts held until they are acknowledged.
    inflight: int | None = None
    bootstrapping: int | None = None
    retracted: int | None = None
    #: Prefill: tokens of the batch that were found in the cache; in use while the line is printed.
    cached_tokens: int | None = None


class TransferTrouble(StrEnum):
    """What can be said of a transfer that did not go well."""

    TIMED_OUT_BOOTSTRAPPING = "timed-out-bootstrapping"
    TIMED_OUT_WAITING = "timed-out-waiting"
    ABORTED = "aborted"
    FAILED = "failed"
    FAILED_ON_ANOTHER_RANK = "failed-on-another-rank"
    #: Pages kept on purpose until the other side has read them.
    HELD = "held"
    #: A hold that ended by its timeout: the pages came back, and a late reader finds others' bytes.
    HOLD_EXPIRED = "hold-expired"
    #: The other side read pages after their hold had ended.
    READ_AFTER_RELEASE = "read-after-release"
    STILL_WAITING = "still-waiting"
    #: A completion for a request that is unknown, or no longer known.
    UNKNOWN_REQUEST = "unknown-request"
    #: An allocation that is tried again and again.
    STARVED = "starved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Something about one transfer."""

    place: Place
    trouble: TransferTrouble
    #: Bootstrap room or request id, as the engine names it; empty where it does not.
    room: str
    request_id: str
    #: The reason in the engine's words, of bounded length.
    reason: str
    #: Timeout that ran out, where the line says.
    timeout_s: float | None = None
    #: Pages (blocks) concerned, where the line says.
    pages: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A scheduler died of something else than its accounting check: an assertion, an exception."""

    place: Place
    message: str


Record = Observation | Load | Transfer | Crash
