"""What every rule did, from the decision to what the engines could see of it.

    met       events that its conditions are about
    planned   of these, the ones it hit
    landed    of these, the ones whose fault came about: an event lost, or delivered otherwise
    observed  of these, the ones that made a difference an engine could see: a poll that found
              nothing, something a second time, something else, or in another order

A rule that never fired has planned nothing. A rule without effect has planned something of which
nothing was observed, such as a delay that ended before the receiver polled again.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class RuleJournal:
    """What one rule did."""

    met: int = 0
    planned: int = 0
    landed: int = 0
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
