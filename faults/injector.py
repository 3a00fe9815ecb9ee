"""The injector: shown each completion event as it is sent, it says how it is delivered.

Each rule decides for itself, from the event alone: a random choice is a hash of (seed, rule name,
event identity), so taking one request or one rule away changes no other decision. (Counting is the
one exception by its nature: the n-th occurrence is the n-th of those that come. Count per request
where that matters.) What the rules that hit one event do to it together, in this order:

    early                 decided when the last bytes set out; the event has then arrived, and what
                          the other rules do to its original delivery comes too late
    drop, partial         nothing is delivered any more, whatever the others say
    misroute              every delivery arrives elsewhere; the first such rule of the plan says where
    fail                  every delivery says "failed"
    delay, reorder        the delays add up; held deliveries wait until all their conditions hold,
                          and then as long as the delays say
    duplicate, stale      as many copies as all ask for, each following the delayed original

Aborts and timeouts do not act on events: they are shown requests as they come into a state.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from faults.chance import uniform
from faults.durations import draw_us
from faults.events import CompletionEvent, Moment
from faults.journal import FaultJournal, RuleJournal
from faults.rule import Condition, Detour, FaultPlan, FaultRule
from faults.triggers import covers_event, covers_moment

_LOSING = ("drop", "partial")
_MOVING = ("delay", "reorder")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival of an event at its receiver, and the rules that touched it."""

    at_us: int
    failed: bool
    rules: tuple[FaultRule, ...]
    #: Where it arrives if not where it was sent.
    detour: Detour | None = None
    #: What must have happened before it arrives; it then takes `wait_us` more.
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
    """An abort or a timeout that is to hit a request at a time, if it is in the state then."""

    rule: FaultRule
    at_us: int


class FaultInjector:
    """Applies one plan under one seed; `disarm` ends the inject phase."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self._early = tuple(rule for rule in plan.rules if rule.fault == "early")
        self._aimed = tuple(rule for rule in plan.rules if rule.is_aimed)
        self._rules = tuple(
            rule for rule in plan.rules if rule.fault != "early" and not rule.is_aimed
        )
        self._seed = seed
        self._armed = True
        self._counts: dict[str, Counter[str]] = {rule.name: Counter() for rule in plan.rules}
        #: For rules that lose parts of transfers: the number of each transfer that they counted.
        self._transfers: dict[str, dict[str, int]] = {rule.name: {} for rule in plan.rules}
        #: What every rule has met and planned; what came of it is counted where events arrive.
        self.journal = FaultJournal({rule.name: RuleJournal() for rule in plan.rules})
        #: Whether events must be shown to `decide_early`, and requests to `aim`.
        self.looks_ahead = bool(self._early)
        self.has_aimed_rules = bool(self._aimed)

    def disarm(self) -> None:
        """Let every later event through untouched."""
        self._armed = False

    def decide_early(self, event: CompletionEvent, now_us: int) -> Delivery | None:
        """The delivery of an event whose last bytes set out now, if it arrives before they land."""
        hits = self._hits(self._early, event)
        if not hits:
            return None
        at_us = min(
            now_us if rule.early_us is None else max(now_us, event.sent_us - rule.early_us)
            for rule in hits
        )
        return Delivery(at_us, False, hits)

    def decide(self, event: CompletionEvent, came_early: bool = False) -> Outcome:
        """Say how one event is delivered; one that came early is not delivered once more."""
        hits = self._hits(self._rules, event)
        if not hits:
            healthy = () if came_early else (Delivery(event.due_us, False, ()),)
            return Outcome(healthy, is_untouched=True)
        lost_by = tuple(rule for rule in hits if rule.fault in _LOSING)
        if lost_by:
            if came_early:
                return Outcome(())
            return Outcome((), lost_by)
        original = self._original(hits, event)
        copies = self._copies(hits, event, original)
        return Outcome(tuple(copies) if came_early else (original, *copies))

    def aim(self, moment: Moment) -> tuple[Strike, ...]:
        """The aborts and timeouts that are to hit a request which comes into a state now."""
        strikes = []
        for rule in self._aimed if self._armed else ():
            if covers_moment(rule, moment, self._seed) and self._draws(rule, moment):
                self.journal.rules[rule.name].planned += 1
                wait_us = self._draw_us(rule, moment.identity, "delay")
                strikes.append(Strike(rule, moment.at_us + wait_us))
        return tuple(strikes)

    # What the rules that hit an event make of it.

    def _original(self, hits: tuple[FaultRule, ...], event: CompletionEvent) -> Delivery:
        moved_us = sum(self._moved_us(rule, event) for rule in hits if rule.fault in _MOVING)
        until = frozenset(
            rule.until for rule in hits if rule.fault == "delay" and rule.until is not None
        )
        return Delivery(
            event.due_us if until else event.due_us + moved_us,
            any(rule.fault == "fail" for rule in hits),
            tuple(rule for rule in hits if rule.fault not in ("duplicate", "stale")),
            detour=next((rule.to for rule in hits if rule.fault == "misroute"), None),
            until=until,
            wait_us=moved_us if until else 0,
        )

    def _moved_us(self, rule: FaultRule, event: CompletionEvent) -> int:
        if rule.fault == "reorder":
            chance = uniform(self._seed, rule.name, f"{event.identity}\x1fdelay")
            return int(chance * rule.window_us)
        return self._draw_us(rule, event.identity, "delay")

    def _copies(
        self, hits: tuple[FaultRule, ...], event: CompletionEvent, original: Delivery
    ) -> list[Delivery]:
        copies = []
        for rule in hits:
            if rule.fault == "stale":
                reused: Condition = rule.until or "pages-reused"
                wait_us = original.wait_us + self._draw_us(rule, event.identity, "delay")
                until = original.until | {reused}
                copies.append(self._copy(original, rule, original.at_us, until, wait_us))
            elif rule.fault == "duplicate":
                for number in range(1, rule.copies + 1):
                    after_us = self._copy_delay_us(rule, event, number)
                    held = bool(original.until)
                    at_us = original.at_us if held else original.at_us + after_us
                    wait_us = original.wait_us + after_us if held else 0
                    copies.append(self._copy(original, rule, at_us, original.until, wait_us))
        return copies

    @staticmethod
    def _copy(
        original: Delivery,
        rule: FaultRule,
        at_us: int,
        until: frozenset[Condition],
        wait_us: int,
    ) -> Delivery:
        return Delivery(
            at_us,
            original.failed,
            (rule,),
            detour=original.detour,
            until=until,
            wait_us=wait_us,
            is_copy=True,
        )

    def _copy_delay_us(self, rule: FaultRule, event: CompletionEvent, number: int) -> int:
        """How long after the original the copy of that number comes."""
        delay = rule.copy_delay_us
        if isinstance(delay, tuple):
            return delay[number - 1]
        if isinstance(delay, int):
            return number * delay
        return draw_us(
            delay, uniform(self._seed, rule.name, f"{event.identity}\x1fcopy\x1f{number}")
        )

    def _draw_us(self, rule: FaultRule, identity: str, what: str) -> int:
        if isinstance(rule.delay_us, int):
            return rule.delay_us
        return draw_us(rule.delay_us, uniform(self._seed, rule.name, f"{identity}\x1f{what}"))

    # Which rules hit an event.

    def _hits(self, rules: tuple[FaultRule, ...], event: CompletionEvent) -> tuple[FaultRule, ...]:
        if not rules or not self._armed:
            return ()
        hits = tuple(
            rule
            for rule in rules
            if covers_event(rule, event, self._seed)
            and self._draws(rule, event)
            and not (rule.fault == "partial" and self._is_kept(rule, event))
        )
        for rule in hits:
            self.journal.rules[rule.name].planned += 1
        return hits

    def _draws(self, rule: FaultRule, subject: CompletionEvent | Moment) -> bool:
        """Whether it is this one's turn, and chance is against it."""
        self.journal.rules[rule.name].met += 1
        identity = subject.identity
        if rule.fault == "partial" and isinstance(subject, CompletionEvent):
            # One decision for all events of a transfer.
            identity = subject.transfer_identity
        if rule.occurrences is not None and (
            self._occurrence(rule, subject, identity) not in rule.occurrences
        ):
            return False
        return rule.probability >= 1.0 or (
            uniform(self._seed, rule.name, identity) < rule.probability
        )

    def _occurrence(self, rule: FaultRule, subject: CompletionEvent | Moment, identity: str) -> int:
        """The how manieth this is, from 1; the events of one partial transfer are one."""
        numbers = self._transfers[rule.name]
        if rule.fault == "partial" and identity in numbers:
            return numbers[identity]
        counts, scope = self._counts[rule.name], _scope(rule, subject)
        counts[scope] += 1
        if rule.fault == "partial":
            numbers[identity] = counts[scope]
        return counts[scope]

    def _is_kept(self, rule: FaultRule, event: CompletionEvent) -> bool:
        """Whether this is one of the events of a partial transfer that do arrive."""

        def lot(part: int) -> tuple[float, int]:
            about = f"{event.transfer_identity}\x1fkept\x1f{part}"
            return uniform(self._seed, rule.name, about), part

        return event.part in sorted(range(event.parts), key=lot)[: rule.keep]


def _scope(rule: FaultRule, subject: CompletionEvent | Moment) -> str:
    """What the n-th occurrence is counted over."""
    if rule.occurrences_per == "request":
        return subject.request_id
    if rule.occurrences_per == "session":
        return subject.session_id or subject.request_id
    return subject.pool if rule.occurrences_per == "rank" else ""
