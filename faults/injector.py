"""The injector: shown each completion event as it is sent, it says how it is delivered.

Each rule decides for itself, from the event alone: a random choice is a hash of (seed, rule name,
event identity), so taking one request or one rule away changes no other decision. (Counting is the
one exception by its nature: the n-th occurrence is the n-th of those that come. Count per request
where that matters.) The rules that hit an event each add their share to its fate (`faults.kinds`),
whatever their order; `faults.kinds.base.STAGE_MEANINGS` says what comes of several.

Faults aimed at a state do not act on events: they are shown requests as they come into a state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from faults.chance import Chance, uniform
from faults.events import CompletionEvent, Direction, Moment
from faults.kinds.base import BOTH_DIRECTIONS, KEYS_ABOUT_EVENTS, Fate, FaultKind, Stage
from faults.kinds.registry import KINDS
from faults.rule import Condition, Detour, FaultPlan, FaultRule


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival of an event at its receiver, and the rules that touched it."""

    at_us: int
    failed: bool
    rules: tuple[FaultRule, ...]
    #: Where it is delivered if not where it was sent.
    detour: Detour | None = None
    #: What must have happened before it is delivered; it then takes `wait_us` more.
    until: frozenset[Condition] = frozenset()
    wait_us: int = 0
    #: Whether it is one more than the receiver expects.
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one event: its deliveries in order, and the rules that lost it."""

    deliveries: tuple[Delivery, ...]
    dropped_by: tuple[FaultRule, ...] = ()
    #: Whether no rule has hit the event.
    is_untouched: bool = False


@dataclass(frozen=True, slots=True)
class Strike:
    """An aimed fault that is to hit a request at a time, if it is in the state then."""

    rule: FaultRule
    at_us: int


@dataclass(slots=True)
class RuleJournal:
    """What one rule did, from the decision to what the engines could see of it.

    A rule that never fired has planned nothing. A rule without effect has planned something of
    which nothing was observed, such as a delay that ended before the receiver polled again.
    """

    #: Events that its conditions are about.
    met: int = 0
    #: Of these, the ones it hit.
    planned: int = 0
    #: Of these, the ones whose fault came about: an event lost, or delivered otherwise.
    landed: int = 0
    #: Of these, the ones that made a difference an engine could see: a poll that found nothing,
    #: something a second time, something else, or in another order.
    observed: int = 0


@dataclass(slots=True)
class FaultJournal:
    """What every rule did, by rule name."""

    rules: dict[str, RuleJournal] = field(default_factory=dict)

    @property
    def planned(self) -> int:
        """Faults that the rules decided on."""
        return sum(rule.planned for rule in self.rules.values())

    @property
    def landed(self) -> int:
        """Faults that came about."""
        return sum(rule.landed for rule in self.rules.values())

    @property
    def observed(self) -> int:
        """Faults that made a difference an engine could see."""
        return sum(rule.observed for rule in self.rules.values())

    @property
    def never_fired(self) -> list[str]:
        """Rules that never decided on a fault."""
        return [name for name, rule in self.rules.items() if not rule.planned]

    @property
    def without_effect(self) -> list[str]:
        """Rules that did, and nothing of it could be seen."""
        return [name for name, rule in self.rules.items() if rule.planned and not rule.observed]


_Subject = CompletionEvent | Moment

#: Conditions by which something of an event, or of a request in a state, is one of several.
_ONE_OF = {
    "request_ids": attrgetter("request_id"),
    "session_ids": attrgetter("session_id"),
    "pools": attrgetter("pool"),
    "dp_ranks": attrgetter("dp_rank"),
    "prefill_tp_ranks": attrgetter("prefill_tp_rank"),
    "decode_tp_ranks": attrgetter("decode_tp_rank"),
    "states": attrgetter("state"),
}


class BoundRule:
    """One rule under one seed: what it asks for is looked up once, not at each event."""

    def __init__(self, rule: FaultRule, seed: int, journal: RuleJournal) -> None:
        self.rule, self.kind = rule, KINDS[rule.fault]
        self._seed = seed
        self._journal = journal
        self._conditions = tuple(_conditions(rule, self.kind, seed))
        self._counts: Counter[str] = Counter()
        #: For rules that choose whole transfers: the number of each that they counted.
        self._transfers: dict[str, int] = {}

    def hits(self, event: CompletionEvent) -> bool:
        """Whether it hits an event; an event that meets its conditions is counted."""
        for holds in self._conditions:
            if not holds(event):
                return False
        identity = event.transfer_identity if self.kind.is_per_transfer else event.identity
        if not self.chooses(event, identity):
            return False
        if self.kind.spares(self.rule, event, self._chance(identity)):
            return False
        self._journal.planned += 1
        return True

    def strikes(self, moment: Moment) -> Strike | None:
        """What it does to a request that comes into its state."""
        if not all(holds(moment) for holds in self._conditions):
            return None
        if not self.chooses(moment, moment.identity):
            return None
        self._journal.planned += 1
        wait_us = self._chance(moment.identity).time_us(self.rule.delay_us, "delay")
        return Strike(self.rule, moment.at_us + wait_us)

    def shape(self, fate: Fate) -> None:
        """Add its share to the fate of an event that it hits."""
        self.kind.shape(self.rule, fate, self._chance(fate.event.identity))

    def chooses(self, subject: _Subject, identity: str) -> bool:
        """Whether it is this one's turn, and chance is against it."""
        self._journal.met += 1
        occurrences, probability = self.rule.occurrences, self.rule.probability
        if occurrences is not None and self._occurrence(subject, identity) not in occurrences:
            return False
        return probability >= 1.0 or uniform(self._seed, self.rule.name, identity) < probability

    def _occurrence(self, subject: _Subject, identity: str) -> int:
        """Occurrence number of this event, from 1; events chosen together share a number."""
        if self.kind.is_per_transfer and identity in self._transfers:
            return self._transfers[identity]
        scope = _scope(self.rule, subject)
        self._counts[scope] += 1
        if self.kind.is_per_transfer:
            self._transfers[identity] = self._counts[scope]
        return self._counts[scope]

    def _chance(self, about: str) -> Chance:
        return Chance(self._seed, self.rule.name, about)


class FaultInjector:
    """Applies one plan under one seed; `disarm` ends the inject phase."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        #: What every rule has met and planned; what came of it is counted where events arrive.
        self.journal = FaultJournal({rule.name: RuleJournal() for rule in plan.rules})
        bound = [BoundRule(rule, seed, self.journal.rules[rule.name]) for rule in plan.rules]
        self._early = _by_direction(each for each in bound if each.kind.stage is Stage.EARLY)
        self._rules = _by_direction(
            each for each in bound if each.kind.stage not in (Stage.EARLY, Stage.AIMED)
        )
        self._aimed: dict[str, list[BoundRule]] = {}
        for each in bound:
            if each.kind.is_aimed and each.rule.when is not None:
                self._aimed.setdefault(each.rule.when, []).append(each)
        self._armed = True
        #: Whether events must be shown to `decide_early`, and requests to `aim`.
        self.looks_ahead = any(self._early.values())
        self.has_aimed_rules = bool(self._aimed)

    def disarm(self) -> None:
        """Let every later event through untouched."""
        self._armed = False

    def decide_early(self, event: CompletionEvent, now_us: int) -> Delivery | None:
        """The delivery of an event whose last bytes set out now, if it arrives before they land."""
        hits = self._hits(self._early, event)
        if not hits:
            return None
        fate = Fate(event, now_us)
        for each in hits:
            each.shape(fate)
        return Delivery(min(fate.early_us), False, tuple(each.rule for each in hits))

    def decide(self, event: CompletionEvent, came_early: bool = False) -> Outcome:
        """Say how one event is delivered; one that came early is not delivered once more."""
        hits = self._hits(self._rules, event)
        if not hits:
            healthy = () if came_early else (Delivery(event.due_us, False, ()),)
            return Outcome(healthy, is_untouched=True)
        fate = Fate(event)
        for each in hits:
            each.shape(fate)
        if fate.lost_by:
            if came_early:
                return Outcome(())
            return Outcome((), tuple(fate.lost_by))
        original = _original(fate, hits)
        copies = _copies(fate, original)
        return Outcome(copies if came_early else (original, *copies))

    def aim(self, moment: Moment) -> tuple[Strike, ...]:
        """The aimed faults that are to hit a request which comes into a state now."""
        aimed = self._aimed.get(moment.state, ()) if self._armed else ()
        strikes = (each.strikes(moment) for each in aimed)
        return tuple(strike for strike in strikes if strike is not None)

    def _hits(
        self, by_direction: dict[Direction, tuple[BoundRule, ...]], event: CompletionEvent
    ) -> Sequence[BoundRule]:
        rules = by_direction[event.direction]
        if not rules or not self._armed:
            return ()
        return [each for each in rules if each.hits(event)]


def _by_direction(rules: Iterable[BoundRule]) -> dict[Direction, tuple[BoundRule, ...]]:
    """Rules of one direction cost events of the other nothing."""
    each = tuple(rules)
    return {
        direction: tuple(bound for bound in each if bound.rule.direction == direction)
        for direction in BOTH_DIRECTIONS
    }


def _conditions(rule: FaultRule, kind: FaultKind, seed: int) -> Iterator[Callable[[Any], bool]]:
    """The conditions that a rule has, except occurrence and probability."""
    for key, attribute in _ONE_OF.items():
        values = getattr(rule, key)
        if values is not None and not (kind.is_aimed and key in KEYS_ABOUT_EVENTS):
            yield _is_one_of(attribute, values)
    if (after_us := rule.after_us) is not None:
        yield lambda subject: subject.at_us >= after_us
    if (before_us := rule.before_us) is not None:
        yield lambda subject: subject.at_us < before_us
    if (burst := rule.burst) is not None:
        yield lambda subject: burst.is_on(seed, rule.name, subject.pool, subject.at_us)
    if (condition := kind.condition(rule)) is not None:
        yield condition


def _is_one_of(
    attribute: Callable[[Any], object], values: frozenset[object]
) -> Callable[[Any], bool]:
    return lambda subject: attribute(subject) in values


def _scope(rule: FaultRule, subject: _Subject) -> str:
    """What the n-th occurrence is counted over."""
    if rule.occurrences_per == "request":
        return subject.request_id
    if rule.occurrences_per == "session":
        return subject.session_id or subject.request_id
    return subject.pool if rule.occurrences_per == "rank" else ""


def _original(fate: Fate, hits: Iterable[BoundRule]) -> Delivery:
    """The delivery that the receiver expects."""
    due_us, is_held = fate.event.due_us, bool(fate.until)
    return Delivery(
        due_us if is_held else due_us + fate.late_us,
        fate.has_failed,
        tuple(each.rule for each in hits if each.kind.stage is not Stage.AGAIN),
        detour=fate.detour,
        until=frozenset(fate.until),
        wait_us=fate.late_us if is_held else 0,
    )


def _copies(fate: Fate, original: Delivery) -> tuple[Delivery, ...]:
    """The deliveries after it, each of which waits for what the original waits for, and more."""
    copies = []
    for copy in fate.copies:
        until = original.until if copy.until is None else original.until | {copy.until}
        copies.append(
            Delivery(
                original.at_us if until else original.at_us + copy.after_us,
                original.failed,
                (copy.rule,),
                detour=original.detour,
                until=until,
                wait_us=original.wait_us + copy.after_us if until else 0,
                is_copy=True,
            )
        )
    return tuple(copies)
