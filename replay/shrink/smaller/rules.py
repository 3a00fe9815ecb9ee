"""Fewer fault rules, and simpler ones."""

from __future__ import annotations

import dataclasses

from faults.durations import LogNormal, Uniform
from faults.rule import FaultRule
from replay.shrink.case import Case
from replay.shrink.search import Search, keep_few
from replay.shrink.smaller.explicit import explicit, is_explicit, narrowed, with_plain_names
from replay.shrink.smaller.numbers import simpler_counts, simpler_times

#: Conditions of a rule, each with the value at which it says nothing.
_CONDITIONS: tuple[tuple[str, object], ...] = (
    ("session_ids", None),
    ("pools", None),
    ("dp_ranks", None),
    ("states", None),
    ("after_us", None),
    ("before_us", None),
    ("burst", None),
    ("occurrences", None),
    ("prefill_tp_ranks", None),
    ("decode_tp_ranks", None),
    ("until", None),
    ("early_us", None),
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
        for field, nothing in _CONDITIONS:
            _try(search, number, **{field: nothing})
        _fewer_ids(search, number)
        _one_number(search, number)
        _shorter(search, number)


def _try(search: Search, number: int, **fields: object) -> bool:
    """Try a rule with some fields changed; what a plan file would refuse is not tried."""
    case = search.case
    changed = dataclasses.replace(case.rules[number], **fields)  # type: ignore[arg-type]
    if changed.occurrences is None:
        changed = dataclasses.replace(changed, occurrences_per="rule")
    if changed.fault == "delay" and changed.delay_us == 0 and changed.until is None:
        return False
    return search.accepts(_with_rule(case, number, changed))


def _with_rule(case: Case, number: int, rule: FaultRule) -> Case:
    return case.with_rules((*case.rules[:number], rule, *case.rules[number + 1 :]))


def _fewer_ids(search: Search, number: int) -> None:
    """Name fewer requests."""

    def ids() -> list[str]:
        return sorted(search.case.rules[number].request_ids or ())

    for name in reversed(ids()):
        left = frozenset(ids()) - {name}
        if left:
            _try(search, number, request_ids=left)


def _one_number(search: Search, number: int) -> None:
    """A fixed time in the place of a distribution, where none was drawn for good."""
    rule = search.case.rules[number]
    for field in ("delay_us", "copy_delay_us"):
        value = getattr(rule, field)
        if isinstance(value, Uniform):
            _try(search, number, **{field: max(1, (value.low_us + value.high_us) // 2)})
        elif isinstance(value, LogNormal):
            _try(search, number, **{field: value.median_us})


def _shorter(search: Search, number: int) -> None:
    """Fewer copies and shorter times."""
    rule = search.case.rules[number]
    if rule.fault == "duplicate":
        _fewer_copies(search, number)
    if rule.fault == "partial":
        any(_try(search, number, keep=keep) for keep in range(1, rule.keep))
    if rule.fault in ("delay", "stale", "abort", "timeout") and isinstance(rule.delay_us, int):
        least = 1 if rule.fault == "delay" and rule.until is None else 0
        any(_try(search, number, delay_us=us) for us in simpler_times(rule.delay_us, least))
    if rule.early_us is not None:
        any(_try(search, number, early_us=us) for us in simpler_times(rule.early_us, 1))
    if rule.fault == "reorder":
        any(_try(search, number, window_us=us) for us in simpler_times(rule.window_us, 1))


def _fewer_copies(search: Search, number: int) -> None:
    delays = search.case.rules[number].copy_delay_us
    if isinstance(delays, tuple):
        # One number spaces all copies evenly.
        for delay in dict.fromkeys(delays):
            if _try(search, number, copies=1, copy_delay_us=delay):
                break
        else:
            _try(search, number, copy_delay_us=delays[0])
    rule = search.case.rules[number]
    if isinstance(rule.copy_delay_us, int):
        any(_try(search, number, copies=copies) for copies in simpler_counts(rule.copies))
        any(_try(search, number, copy_delay_us=us) for us in simpler_times(rule.copy_delay_us))
