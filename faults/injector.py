"""The injector: shown each completion event as it is sent, it says how it is delivered.

Each rule decides for itself, from the event alone: a random choice is a hash of (seed, rule name,
event identity), so taking one request or one rule away changes no other decision. What the rules
that hit one event do to it together:

    drop                 nothing is delivered, whatever the others say
    delay + delay        the delays add up
    delay + duplicate    the copies follow the delayed original
    duplicate + duplicate  as many copies as both ask for
    fail                 every delivery says "failed"
    misroute             every delivery arrives as an event of the other kind

The journal counts, rule by rule, what was planned and what landed. A fault has landed when the
receiver was done out of something (drop) or was shown something (a late, second or failed event).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from faults.kinds import CompletionEvent, FaultPlan, FaultRule

_HASH_RANGE = float(1 << 64)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival of an event at its receiver, and the rules that touched it."""

    at_us: int
    failed: bool
    rules: tuple[FaultRule, ...]
    #: Whether this is where its rules land: second and later copies of one rule are not.
    is_landing: bool = True
    #: Whether it arrives as an event of the other kind.
    misrouted: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one event: its deliveries in order, and the rules that lost it."""

    deliveries: tuple[Delivery, ...]
    dropped_by: tuple[FaultRule, ...] = ()
    #: Whether no rule has hit the event.
    is_untouched: bool = False


@dataclass(slots=True)
class RuleJournal:
    """What one rule did: events it met, faults it planned, faults that landed."""

    met: int = 0
    planned: int = 0
    landed: int = 0


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
        """Faults whose effect reached a receiver."""
        return sum(rule.landed for rule in self.rules.values())

    @property
    def never_fired(self) -> int:
        """Rules that never decided on a fault."""
        return sum(rule.planned == 0 for rule in self.rules.values())


class FaultInjector:
    """Applies one plan under one seed; `disarm` ends the inject phase."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self._rules = plan.rules
        self._seed = seed
        self._armed = True
        self.journal = FaultJournal({rule.name: RuleJournal() for rule in plan.rules})

    def disarm(self) -> None:
        """Let every later event through untouched."""
        self._armed = False

    def decide(self, event: CompletionEvent) -> Outcome:
        """Say how one event is delivered."""
        hits = []
        if self._rules and self._armed:
            hits = [rule for rule in self._rules if self._hits(rule, event)]
        if not hits:
            return Outcome((Delivery(event.due_us, False, ()),), is_untouched=True)
        for rule in hits:
            self.journal.rules[rule.name].planned += 1
        drops = tuple(rule for rule in hits if rule.fault == "drop")
        if drops:
            for rule in drops:
                self.journal.rules[rule.name].landed += 1
            return Outcome((), drops)
        failed = any(rule.fault == "fail" for rule in hits)
        misrouted = any(rule.fault == "misroute" for rule in hits)
        at_us = event.due_us + sum(rule.delay_us for rule in hits if rule.fault == "delay")
        touching = tuple(rule for rule in hits if rule.fault in ("delay", "fail", "misroute"))
        deliveries = [Delivery(at_us, failed, touching, misrouted=misrouted)]
        for rule in hits:
            if rule.fault == "duplicate":
                deliveries.extend(
                    Delivery(
                        at_us + copy * rule.copy_delay_us, failed, (rule,), copy == 1, misrouted
                    )
                    for copy in range(1, rule.copies + 1)
                )
        return Outcome(tuple(deliveries))

    def note_landed(self, delivery: Delivery) -> None:
        """Record that a faulted delivery reached its receiver."""
        if delivery.is_landing:
            for rule in delivery.rules:
                self.journal.rules[rule.name].landed += 1

    def _hits(self, rule: FaultRule, event: CompletionEvent) -> bool:
        if not rule.covers(event):
            return False
        journal = self.journal.rules[rule.name]
        journal.met += 1
        if rule.occurrences is not None and journal.met not in rule.occurrences:
            return False
        return rule.probability >= 1.0 or (
            uniform(self._seed, rule.name, event.identity) < rule.probability
        )


def uniform(seed: int, rule_name: str, event_identity: str) -> float:
    """A number in [0, 1) that depends on these three things and on nothing else."""
    key = f"{seed}\x1f{rule_name}\x1f{event_identity}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / _HASH_RANGE
