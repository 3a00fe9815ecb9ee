"""A fault rule: which completion events or requests it hits, and the keys of its fault.

`FaultRule` is the one declaration of every key of a `[[rule]]` table: its type, default, limits and
meaning. Plan files (`faults.plan`), their JSON Schema and `kvreplay faults` are derived from it. What
each fault makes of the keys is said in `faults.kinds`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from faults.chance import DELAY_US_MAX, Burst, Duration, LogNormal, Uniform
from faults.events import Direction, RequestState

_T = TypeVar("_T")

#: What a held event can wait for.
Condition = Literal["given-up", "released", "pages-reused", "room-reused", "heal"]

CONDITION_MEANINGS: dict[Condition, str] = {
    "given-up": "its receiver no longer waits for it: the request was aborted, failed or timed out",
    "released": "its receiver is done with the request and has released its pages",
    "pages-reused": "another request has been given one of its pages",
    "room-reused": "another transfer waits in its bootstrap room",
    "heal": "the inject phase is over",
}

#: Where an event is delivered instead: as an event of the other kind, to the next DP rank of the
#: instance, or for the next room that the receiver serves.
Detour = Literal["kind", "rank", "room"]

#: What the n-th occurrence is counted over.
Scope = Literal["rule", "request", "session", "rank"]

#: One number spaces copies evenly; several give each copy its own; a distribution draws each.
CopyDelay: TypeAlias = int | tuple[int, ...] | Uniform | LogNormal

COPIES_MAX = 1_000


class PlanError(ValueError):
    """A fault plan or a fault shortcut cannot be used.

    The message is one sentence: which file or option, which key, what was expected.
    """


def key(default: _T, meaning: str, *, least: int = 0, most: int | None = None) -> _T:
    """A key of a rule; `least` and `most` limit its numbers, or those in its list."""
    metadata = {"meaning": meaning, "least": least, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Which completion events (or requests in a state) a fault hits, and what it does to them.

    All conditions given must hold; one left out always holds. `probability` is drawn for each event
    that meets the other conditions, and `occurrences` counts those events (1 is the first). The
    events of a `partial` transfer are drawn for, and counted, together.
    """

    name: str = dataclasses.field(metadata={"meaning": "unique; seeds the rule's choices"})
    fault: str = dataclasses.field(metadata={"meaning": "what happens to matching events"})
    direction: Direction = key("decode", "decode: completions; prefill: acknowledgements")

    # Which events.
    probability: float = key(1.0, "drawn for each matching event")
    occurrences: frozenset[int] | None = key(
        None, "hit only the n-th matching events, from 1", least=1
    )
    occurrences_per: Scope = key("rule", "what occurrences are counted over")
    request_ids: frozenset[str] | None = key(None, "of these requests")
    session_ids: frozenset[str] | None = key(None, "of these sessions")
    pools: frozenset[str] | None = key(None, "sent to these ranks, such as decode0/dp3")
    dp_ranks: frozenset[int] | None = key(None, "sent to these DP ranks")
    prefill_tp_ranks: frozenset[int] | None = key(None, "from or to these prefill TP ranks")
    decode_tp_ranks: frozenset[int] | None = key(None, "to or from these decode TP ranks")
    states: frozenset[str] | None = key(
        None, "sent while the receiver has the request in one of these states"
    )
    after_us: int | None = key(None, "sent at or after this virtual time", most=DELAY_US_MAX)
    before_us: int | None = key(None, "sent before this virtual time", most=DELAY_US_MAX)
    burst: Burst | None = key(None, "sent in one of these windows of time")

    # What the fault does; which fault takes which key is said in `faults.kinds`.
    delay_us: Duration = key(0, "how much later", least=1, most=DELAY_US_MAX)
    until: Condition | None = key(None, "held until this has happened")
    copies: int = key(1, "number of additional deliveries", least=1, most=COPIES_MAX)
    copy_delay_us: CopyDelay = key(
        1_000,
        "time between copies; a list gives each copy its own, a distribution draws each",
        most=DELAY_US_MAX,
    )
    window_us: int = key(
        0, "events sent within this time may change places", least=1, most=DELAY_US_MAX
    )
    to: Detour = key(
        "kind",
        "where it goes instead: kind = as an acknowledgement (or a completion), rank = the next DP "
        "rank, room = the next bootstrap room",
    )
    early_us: int | None = key(
        None,
        "at most this much early; if left out, when the last bytes set out",
        least=1,
        most=DELAY_US_MAX,
    )
    keep: int = key(1, "events of a transfer that are delivered; 1 if left out", least=1)
    when: RequestState | None = key(None, "state that the request must be in")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The rules of one replay, in no particular order: none depends on another."""

    rules: tuple[FaultRule, ...] = ()
    comment: str = ""
    #: Where the plan was read from, for the line that reproduces a run; empty for shortcuts.
    source: str = ""


FIELDS: dict[str, dataclasses.Field[Any]] = {
    each.name: each for each in dataclasses.fields(FaultRule)
}


def type_of(key: str) -> Any:
    """The type of a key's values."""
    return typing.get_type_hints(FaultRule)[key]


def meaning_of(key: str) -> str:
    """What a key means, and the words that it takes."""
    meaning: str = FIELDS[key].metadata["meaning"]
    words = words_in(type_of(key))
    if not words or any(word in meaning for word in words[1:]):
        return meaning
    return f"{meaning}: {', '.join(words)}"


def words_in(annotation: object) -> list[str]:
    """The words of the `Literal` in a type, if there is one."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        return [word for word in arguments if isinstance(word, str)]
    return [word for argument in arguments for word in words_in(argument)]


def rule_document(rule: FaultRule) -> dict[str, Any]:
    """A rule as JSON takes it, without the conditions it does not have; sets are sorted lists."""
    given = {key: each for key, each in dataclasses.asdict(rule).items() if each is not None}
    return {
        key: sorted(value) if isinstance(value, frozenset) else value
        for key, value in given.items()
    }


def read_rule(document: Mapping[str, Any]) -> FaultRule:
    """The rule that `rule_document` gave, before or after JSON.

    Raises:
        TypeError, KeyError, ValueError: it has a key or a value of another version.
    """
    hints = typing.get_type_hints(FaultRule)
    return FaultRule(**{key: _read(hints[key], value) for key, value in document.items()})


def _read(annotation: Any, value: Any) -> Any:
    if isinstance(value, list):
        is_set = any(typing.get_origin(each) is frozenset for each in typing.get_args(annotation))
        return frozenset(value) if is_set else tuple(value)
    if not isinstance(value, dict):
        return value
    if "low_us" in value:
        return Uniform(**value)
    return LogNormal(**value) if "median_us" in value else Burst(**value)
