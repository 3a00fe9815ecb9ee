"""What a fault kind must be: its keys, its words, its effect, and how it is drawn and shrunk.

A kind is one object in `faults/kinds/NAME.py`, listed in `faults.kinds.registry`. It holds no state:
everything about one rule is in the `FaultRule`, everything about one event is handed in. What a kind
must know of a deployment, of a recording or of the search for a smaller case is one of the small
protocols below.

    event --can it hit?--> chosen by chance and count --spares?--> shape(fate) --> deliveries
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar

from faults.chance import Chance, Duration
from faults.events import CompletionEvent, Direction
from faults.rule import CONDITION_MEANINGS, FIELDS, Condition, Detour, FaultRule, meaning_of

_T = TypeVar("_T")

BOTH_DIRECTIONS: tuple[Direction, ...] = ("decode", "prefill")


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

#: By what one sees that a delivered fault made a difference, besides that the event came twice.
#:   late       its receiver looked when it was due, and it was not there
#:   overtaken  an event that was due later was delivered first
#:   consumed   its receiver did not ignore it
Sign = Literal["late", "overtaken", "consumed"]

#: Keys of a rule that describe an event, and so do not go with faults aimed at a request.
KEYS_ABOUT_EVENTS = ("direction", "states", "prefill_tp_ranks", "decode_tp_ranks")


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


class Parties(Protocol):
    """Between whom the events of one transfer go."""

    @property
    def completions(self) -> Sized:
        """Completions of one transfer."""

    @property
    def real_senders(self) -> Sized:
        """Prefill TP ranks that are sent an acknowledgement."""


class Deployment(Protocol):
    """What a kind may ask of a deployment, to draw only what can have an effect there."""

    @property
    def prefill_dp(self) -> int:
        """DP ranks of a prefill instance."""

    @property
    def decode_dp(self) -> int:
        """DP ranks of a decode instance."""

    @property
    def page_size(self) -> int:
        """Tokens of a page."""

    @property
    def allocator_sorts_pages(self) -> bool:
        """Whether freed pages wait in order before they are given out again."""

    @property
    def bootstrap_timeout_us(self) -> int | None:
        """Prefill's timeout while it waits for decode's pages."""

    @property
    def waiting_timeout_us(self) -> int | None:
        """Decode's timeout before bytes move."""

    @property
    def completion_timeout_us(self) -> int | None:
        """Decode's timeout for a completion."""

    @property
    def acknowledgement_timeout_us(self) -> int | None:
        """Prefill's timeout for an acknowledgement."""

    def parties(self) -> Parties:
        """Between whom the events of one transfer go."""


class Dice(Protocol):
    """What a kind draws its rules with (`faults.draw`)."""

    def choice(self, options: Sequence[_T]) -> _T:
        """One of them."""

    def often(self) -> float:
        """A probability of one half or more."""

    def abort_rate(self) -> float:
        """A share of requests whose client goes away."""

    def copies(self) -> int:
        """A number of copies."""

    def delay(self) -> Duration:
        """A time, or a distribution of times."""

    def window_us(self) -> int:
        """A time within which events may change places."""


class Shrinking(Protocol):
    """What a kind asks of the search for a simpler rule; each call tries rules in a replay."""

    @property
    def rule(self) -> FaultRule:
        """The rule with everything that was accepted."""

    def fewer(self, key: str) -> bool:
        """Smaller counts, the smallest first; returns whether one was accepted."""

    def shorter(self, key: str, least_us: int = 0) -> bool:
        """Shorter times, the shortest first; returns whether one was accepted.

        Distributions and lists of times stay.
        """

    def change(self, **keys: object) -> bool:
        """These values; returns whether they were accepted."""


class Wording(Protocol):
    """How a report writes numbers and times."""

    def time(self, time_us: int) -> str:
        """A length of time."""

    def duration(self, value: Duration | tuple[int, ...]) -> str:
        """A length of time, several, or a distribution."""

    def number(self, value: int) -> str:
        """A whole number."""

    def counted(self, count: int, noun: str) -> str:
        """A number and its noun, in the plural where needed."""


class EventWords(NamedTuple):
    """One delivery as the words about it name it."""

    #: Which event it is, such as "the completion of room 3 from prefill TP 0".
    name: str
    sent: str
    #: When it was delivered, and how much later than due.
    came: str
    late: str
    is_copy: bool


class Receivers(NamedTuple):
    """Who receives the events of one direction in a recording."""

    side: Direction
    dp_ranks: int


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
    shows: ClassVar[frozenset[Sign]] = frozenset()
    #: Whether it depends on chance even where its rule says nothing of it.
    is_random: ClassVar[bool] = False

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
        return not self.one_of or any(
            getattr(rule, key) != FIELDS[key].default for key in self.one_of
        )

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

    # Its words.

    def told(self, event: EventWords) -> str | None:
        """What it did to one delivery, as a sentence; None where there is nothing to add."""
        return None

    @abstractmethod
    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """What a rule does to the events that it hits, as the rest of a sentence about them."""

    # Why a rule did nothing.

    def why_none_met(self, rule: FaultRule, receivers: Receivers) -> str | None:
        """Why no event of a deployment can matter to the rule."""
        return None

    def why_none_hit(self, rule: FaultRule, words: Wording) -> str | None:
        """Why it hit none of the events that it met, if not by chance or count."""
        return None

    def why_none_landed(self, rule: FaultRule) -> str:
        """Why nothing that it planned came about."""
        if rule.until is not None:
            return (
                f"It waits until {CONDITION_MEANINGS[rule.until]}, which never happened, and no "
                "receiver missed the events that it held back."
            )
        return "The replay ended before what it planned could happen."

    # How a seed draws it, and how a shrinker makes it simpler.

    def directions(self, deployment: Deployment) -> tuple[Direction, ...]:
        """In which directions it can have an effect; none where it cannot have any."""
        return BOTH_DIRECTIONS

    def drawn(self, rule: FaultRule, dice: Dice, deployment: Deployment) -> FaultRule:
        """A rule with a direction and a probability, completed with drawn keys."""
        return rule

    def simplify(self, tries: Shrinking) -> None:
        """Try smaller values of the keys; a delay that is always the same gets shorter."""
        if "delay_us" in self.keys:
            tries.shorter("delay_us")

    def as_drawn(self, rule: FaultRule, chance: Chance) -> FaultRule:
        """A rule that does to any event, without chance, what this one did to one event."""
        return dataclasses.replace(rule, delay_us=chance.time_us(rule.delay_us, "delay"))


class AimedKind(FaultKind):
    """A fault aimed at a request in a state: it hits `delay_us` after the request came there."""

    stage = Stage.AIMED
    must = frozenset({"when"})
    may = frozenset({"delay_us"})
    #: What happens to the request, as a sentence.
    effect: ClassVar[str]

    def shape(self, rule: FaultRule, fate: Fate, chance: Chance) -> None:
        """Nothing: it acts on no event."""

    def in_words(self, rule: FaultRule, words: Wording) -> str:
        """What happens to the request, and when."""
        if not rule.delay_us:
            return f"{self.effect} at once"
        return f"{self.effect} {words.duration(rule.delay_us)} later, if it is still in that state"
