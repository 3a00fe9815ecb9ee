"""Fewer fault rules, and simpler ones."""

from __future__ import annotations

import dataclasses

from faults.chance import LogNormal, Uniform
from faults.kinds.registry import KINDS
from faults.rule import FIELDS, FaultRule
from replay.shrink.search import Search, keep_few
from replay.shrink.smaller.explicit import explicit, is_explicit, narrowed, with_plain_names
from replay.shrink.smaller.numbers import simpler_counts, simpler_times

#: Conditions that are left away, in this order, before the keys of the fault.
_CONDITIONS = (
    "session_ids",
    "pools",
    "dp_ranks",
    "states",
    "after_us",
    "before_us",
    "burst",
    "occurrences",
    "prefill_tp_ranks",
    "decode_tp_ranks",
)
_EXPLICIT_REQUESTS_MAX = 64


def fewer_rules(search: Search) -> None:
    """Leave away every rule that can be."""
    keep_few(search, lambda: search.case.rules, lambda rules: search.case.with_rules(rules))


def named_requests(search: Search) -> None:
    """Have rules name the requests that they hit, so that other requests can go."""
    rules = search.case.rules
    if any(rule.request_ids is None for rule in rules):
        search.accepts(narrowed(search.case, search.involved()))


def explicit_rules(search: Search) -> None:
    """Put explicit rules in the place of those that depend on chance."""
    case = search.case
    if len(case.requests) > _EXPLICIT_REQUESTS_MAX or not case.rules:
        return
    if not all(is_explicit(rule) for rule in case.rules):
        candidate = explicit(case, search.involved())
        if candidate is not None:
            search.accepts(candidate)
    if all(is_explicit(rule) for rule in search.case.rules):
        search.accepts(with_plain_names(search.case))


def simpler_rules(search: Search) -> None:
    """Leave away conditions and requests of rules, and make their times and copies small."""
    for number in range(len(search.case.rules)):
        tries = _RuleTries(search, number)
        kind = KINDS[tries.rule.fault]
        for key in (*_CONDITIONS, *sorted(kind.may)):
            if FIELDS[key].default is None:
                tries.change(**{key: None})
        _fewer_ids(tries)
        _one_number(tries)
        kind.simplify(tries)


class _RuleTries:
    """Tries other values for the keys of one rule (`faults.kinds.base.Shrinking`)."""

    def __init__(self, search: Search, number: int) -> None:
        self._search = search
        self._number = number

    @property
    def rule(self) -> FaultRule:
        """The rule as it is now."""
        return self._search.case.rules[self._number]

    def change(self, **keys: object) -> bool:
        """Try these values; what a plan file would refuse is not tried."""
        rules = self._search.case.rules
        changed = dataclasses.replace(self.rule, **keys)  # type: ignore[arg-type]
        if changed.occurrences is None:
            changed = dataclasses.replace(changed, occurrences_per="rule")
        if not KINDS[changed.fault].is_complete(changed):
            return False
        before, after = rules[: self._number], rules[self._number + 1 :]
        return self._search.accepts(self._search.case.with_rules((*before, changed, *after)))

    def fewer(self, key: str) -> bool:
        """Try smaller counts, the smallest first."""
        return any(self.change(**{key: count}) for count in simpler_counts(getattr(self.rule, key)))

    def shorter(self, key: str, least_us: int = 0) -> bool:
        """Try shorter times, the shortest first; distributions and lists stay."""
        value = getattr(self.rule, key)
        return isinstance(value, int) and any(
            self.change(**{key: time_us}) for time_us in simpler_times(value, least_us)
        )


def _fewer_ids(tries: _RuleTries) -> None:
    """Name fewer requests."""
    for name in sorted(tries.rule.request_ids or (), reverse=True):
        left = (tries.rule.request_ids or frozenset()) - {name}
        if left:
            tries.change(request_ids=left)


def _one_number(tries: _RuleTries) -> None:
    """A fixed time in the place of a distribution, where none was drawn for good."""
    for key in ("delay_us", "copy_delay_us"):
        value = getattr(tries.rule, key)
        if isinstance(value, Uniform):
            tries.change(**{key: max(1, (value.low_us + value.high_us) // 2)})
        elif isinstance(value, LogNormal):
            tries.change(**{key: value.median_us})
