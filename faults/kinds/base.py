"""What a fault kind must be: its keys, its words, its effect, and how it is drawn and shrunk.

A kind is one object in `faults/kinds/NAME.py`, listed in `faults.kinds.registry`. It holds no state:
everything about one rule is in the `FaultRule`, everything about one event is handed in.

    event --can it hit?--> chosen by chance and count --spares?--> shape(fate) --> deliveries
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, ClassVar, Literal, Protocol

from faults.chance import Chance
from faults.draw import Dice
from faults.events import CompletionEvent, Direction, RequestState
from faults.rule import CONDITION_MEANINGS, FIELDS, Condition, Detour, FaultRule, meaning_of

BOTH_DIRECTIONS: tuple[Direction, ...] = ("decode", "prefill")

#: Keys of a rule that describe an event, and so do not go with faults aimed at a request.
KEYS_ABOUT_EVENTS = ("direction", "states", "prefill_tp_ranks", "decode_tp_ranks")

#: How one sees that a delivered fault made a difference, besides that the event came twice.
#:   late       its receiver looked when it was due, and it was not there
#:   overtaken  an event that was due later was delivered first
#:   consumed   its receiver did not ignore it
Sign = Literal["late", "overtaken", "consumed"]


class Stage(IntEnum):
    """What a kind does to the deliveries of an event, in the order in which rules combine."""

    EARLY = 10
    LOST = 20
    ELSEWHERE = 30
    FAILED = 40
    HELD = 50
    AGAIN = 60
    #: It acts on a request in a state, not on an event.
    AIMED = 100

    @property
    def acts_on_sending(self) -> bool:
        """Whether it acts when the event is sent; the others show when it is delivered."""
        return self in (Stage.LOST, Stage.HELD)


#: What rules of each stage do to an event that several rules hit.
STAGE_MEANINGS: dict[Stage, str] = {
    Stage.EARLY: "decided when the last bytes set out; once delivered early, the event can only be "
    "copied",
    Stage.LOST: "nothing is delivered, whatever the other rules say",
    Stage.ELSEWHERE: "every delivery goes elsewhere; the first such rule of the plan says where",
    Stage.FAILED: "every delivery says that the transfer failed",
    Stage.HELD: "delays add up; a held delivery waits until all its conditions hold, and then for "
    "the sum of the delays",
    Stage.AGAIN: "as many copies as all of them ask for, each after the delayed original",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A plan that shows the kind, and what a deployment must have for the rule to act."""

    text: str
    #: Profile fields as given to `--set`.
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Only:
    """The words of a key that a kind takes, and what is wrong with the others."""

    key: str
    words: tuple[str, ...]
    #: With `{}` for the word that was given.
    complaint: str


@dataclass(slots=True)
class Copy:
    """One more delivery of an event, after the original."""

    rule: FaultRule
    after_us: int
    until: Condition | None = None


@dataclass(slots=True)
class Fate:
    """What the rules that hit one event make of it; each rule adds its share."""

    event: CompletionEvent
    #: When the last bytes set out, for rules that deliver the event before they land.
    now_us: int = 0
    early_us: list[int] = field(default_factory=list)
    lost_by: list[FaultRule] = field(default_factory=list)
    detour: Detour | None = None
    has_failed: bool = False
    late_us: int = 0
    until: set[Condition] = field(default_factory=set)
    copies: list[Copy] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What kinds must know of a deployment, to draw only rules that can have an effect there."""

    #: By direction: DP ranks of a receiving instance, and events of one transfer.
    dp_ranks: dict[Direction, int]
    events: dict[Direction, int]
    #: States in which the engine has a timeout, and that every request passes.
    timeouts: tuple[RequestState, ...]
    #: Whether freed pages are given out again soon.
    reuses_pages_soon: bool


class Shrinking(Protocol):
    """The search for a simpler rule; each call tries rules in a replay, until one is accepted."""

    @property
    def rule(self) -> FaultRule:
        """The rule with everything that was accepted."""

    def fewer(self, key: str) -> bool:
        """Try smaller counts, the smallest first."""

    def shorter(self, key: str, least_us: int = 0) -> bool:
        """Try shorter times, the shortest first; distributions and lists of times stay."""

    def change(self, **keys: object) -> bool:
        """Try these values."""


class FaultKind(ABC):
    """One kind of fault; every method gets the rule that it is about."""

    name: ClassVar[str]
    #: One line, shown by `kvreplay faults`.
    meaning: ClassVar[str]
    example: ClassVar[Example]
    stage: ClassVar[Stage]
    #: Keys that it must have, may have, and of which it needs at least one.
    must: ClassVar[frozenset[str]] = frozenset()
    may: ClassVar[frozenset[str]] = frozenset()
    one_of: ClassVar[tuple[str, ...]] = ()
    #: Keys of which it takes only some words.
    only: ClassVar[tuple[Only, ...]] = ()
    #: Whether all events of one transfer are chosen and counted together.
    is_per_transfer: ClassVar[bool] = False
    #: Whether it depends on chance even where its rule says nothing of it.
    is_random: ClassVar[bool] = False
    shows: ClassVar[frozenset[Sign]] = frozenset()
    #: What it did to a delivery, and to a copy, as a sentence in which `{name}`, `{sent}`, `{came}`
    #: and `{late}` stand for the event, when it was sent and delivered, and how much too late.
    told: ClassVar[str] = "{name} came at {came}"
    told_of_copy: ClassVar[str] = "{name} came again at {came}"

    # Its keys.

    @property
    def keys(self) -> frozenset[str]:
        """Keys that say what it does."""
        return self.must | self.may

    @property
    def is_aimed(self) -> bool:
        """Whether it acts on a request in a state rather than on a completion event."""
        return self.stage is Stage.AIMED

    def key_meanings(self) -> dict[str, str]:
        """The keys that say what it does, each with its meaning; required ones come first."""
        return {
            **{key: f"{meaning_of(key)} (required)" for key in sorted(self.must)},
            **{key: meaning_of(key) for key in sorted(self.may)},
        }

    def is_complete(self, rule: FaultRule) -> bool:
        """Whether the rule has one of the keys of which the kind needs one."""
        values = {key: getattr(rule, key) for key in self.one_of}
        return not values or any(each != FIELDS[key].default for key, each in values.items())

    def complaint(self, rule: FaultRule) -> tuple[str, str] | None:
        """The key whose value does not fit the others, and what is wrong with it."""
        return None

    def schema(self) -> dict[str, Any]:
        """What a JSON Schema must say of its keys beyond which of them it takes."""
        return {}

    # Its effect.

    def condition(self, rule: FaultRule) -> Callable[[CompletionEvent], bool] | None:
        """Which events the rule can make a difference to; None for all. Asked once a replay."""
        return None

    def spares(self, rule: FaultRule, event: CompletionEvent, chance: Chance) -> bool:
        """Whether a chosen event is left alone; `chance` is the same for a whole transfer."""
        return False

    @abstractmethod
    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Add what the rule does to an event that it hits."""

    # What a report says of a rule; keys of the rule stand in braces, as in `{delay_us} later`.

    @abstractmethod
    def in_words(self, rule: FaultRule) -> str:
        """What it does to the events that it hits, as the rest of a sentence about them."""

    def why_none_met(self, rule: FaultRule, side: Direction, dp_ranks: int) -> str | None:
        """Why no event that is sent to a side with so many DP ranks can matter to it."""
        return None

    def why_none_hit(self, rule: FaultRule) -> str | None:
        """Why it hit none of the events that it met, if not by chance or count."""
        return None

    def why_none_landed(self, rule: FaultRule) -> str:
        """Why nothing that it planned came about."""
        if self.stage is Stage.LOST:
            return "The events it would have lost had already been delivered early by another rule."
        if rule.until is None:
            return "The replay ended before what it planned could happen."
        return (
            f"It waits until {CONDITION_MEANINGS[rule.until]}, which never happened, and no "
            "receiver missed the events that it held back."
        )

    # How a seed draws it, and how shrinking makes it simpler.

    def directions(self, deployment: Deployment) -> tuple[Direction, ...]:
        """In which directions it can have an effect; none where it cannot have any."""
        return BOTH_DIRECTIONS

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """A rule with a direction and a probability, completed with drawn keys."""
        return rule

    def simplify(self, tries: Shrinking) -> None:
        """Try smaller values of the keys."""
        if "delay_us" in self.keys:
            tries.shorter("delay_us")

    def as_drawn(self, rule: FaultRule, chance: Chance) -> FaultRule:
        """A rule that does to any event, without chance, what this one did to one event."""
        return replace(rule, delay_us=chance.time_us(rule.delay_us, "delay"))


class AimedKind(FaultKind):
    """A fault aimed at a request in a state: it hits `delay_us` after the request came there."""

    stage = Stage.AIMED
    must = frozenset({"when"})
    may = frozenset({"delay_us"})
    #: What happens to the request, as a sentence.
    effect: ClassVar[str]

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Nothing: it acts on no event."""

    def in_words(self, rule: FaultRule) -> str:
        """What happens to the request, and when."""
        later = "{delay_us} later, if it is still in that state" if rule.delay_us else "at once"
        return f"{self.effect} {later}"
