"""Rules that depend on chance, or on what a request meets, as rules about named requests.

What a rule did is taken from a replay of the case, so the explicit rules do the same: to which
requests, on which TP ranks, with which delays. They depend on no seed, no name, no count and no
routing, so that requests can then be left away, renamed and moved between ranks.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from faults.chance import Chance
from faults.events import Direction
from faults.kinds.registry import KINDS
from faults.rule import FaultRule
from replay.shrink.case import Case
from replay.shrink.involved import Hit, Involved

#: More rules than this are not worth making: there are too many requests yet.
_RULES_MAX = 40
_SEPARATOR = "\x1f"

Pairs = frozenset[tuple[int, int]]


def is_explicit(rule: FaultRule) -> bool:
    """Whether a rule names its requests, and nothing about it is left to chance or count."""
    return (
        rule.request_ids is not None
        and rule.probability >= 1.0
        and rule.occurrences is None
        and rule.burst is None
        and not KINDS[rule.fault].is_random
        and isinstance(rule.delay_us, int)
        and isinstance(rule.copy_delay_us, (int, tuple))
    )


def narrowed(case: Case, involved: Involved) -> Case:
    """The same rules about the requests that they did hit, so that routing and time do not matter.

    Their names stay, and with these what chance says of each event.
    """
    hit: dict[str, set[str]] = defaultdict(set)
    for each in involved.hits:
        hit[each.rule].add(each.request_id)
    rules = []
    for rule in case.rules:
        if rule.name in hit:
            rules.append(_freed(rule, frozenset(hit[rule.name])))
    return case.with_rules(rules)


def _freed(rule: FaultRule, request_ids: frozenset[str]) -> FaultRule:
    return dataclasses.replace(
        rule,
        request_ids=request_ids,
        occurrences=None,
        occurrences_per="rule",
        session_ids=None,
        pools=None,
        dp_ranks=None,
        states=None,
        after_us=None,
        before_us=None,
        burst=None,
    )


def explicit(case: Case, involved: Involved) -> Case | None:
    """The case with explicit rules that did the same; None when it takes too many of them."""
    rules: list[FaultRule] = []
    for rule in case.rules:
        if is_explicit(rule):
            rules.append(rule)
        else:
            hits = [hit for hit in involved.hits if hit.rule == rule.name]
            rules += _explicit_rules(rule, hits, involved, case.options.seed)
        if len(rules) > _RULES_MAX:
            return None
    return case.with_rules(_named(rules))


def with_plain_names(case: Case) -> Case:
    """The case with its rules called after their faults; only explicit ones may be renamed."""
    return case.with_rules(_named(case.rules))


def _named(rules: Iterable[FaultRule]) -> list[FaultRule]:
    """Names that say what a rule does: drop, drop-2, ..."""
    counts: dict[str, int] = defaultdict(int)
    named = []
    for rule in rules:
        counts[rule.fault] += 1
        number = counts[rule.fault]
        name = rule.fault if number == 1 else f"{rule.fault}-{number}"
        named.append(dataclasses.replace(rule, name=name))
    return named


def _explicit_rules(
    rule: FaultRule, hits: list[Hit], involved: Involved, seed: int
) -> list[FaultRule]:
    """One rule for all events that the same was done to, on the same TP ranks."""
    alike: dict[tuple[str, FaultRule], set[tuple[int, int]]] = defaultdict(set)
    for hit in hits:
        alike[hit.request_id, _effect(rule, hit, seed)].add(
            (hit.prefill_tp_rank, hit.decode_tp_rank)
        )
    requests: dict[FaultRule, set[str]] = defaultdict(set)
    for (request_id, effect), pairs in alike.items():
        every = involved.events.get((request_id, rule.direction), frozenset())
        for placed in _placed(effect, frozenset(pairs), every):
            requests[placed].add(request_id)
    return [
        dataclasses.replace(placed, request_ids=frozenset(ids)) for placed, ids in requests.items()
    ]


def _effect(rule: FaultRule, hit: Hit, seed: int) -> FaultRule:
    """What the rule did to one event, as a rule about any event."""
    kind = KINDS[rule.fault]
    identity = _SEPARATOR.join(
        (hit.request_id, hit.direction, str(hit.prefill_tp_rank), str(hit.decode_tp_rank))
    )
    if kind.is_aimed:
        identity = f"{hit.request_id}{_SEPARATOR}is {rule.when}"
    drawn = kind.as_drawn(rule, Chance(seed, rule.name, identity))
    keys: dict[str, Any] = {key: getattr(drawn, key) for key in KINDS[drawn.fault].keys}
    direction: Direction = "decode" if kind.is_aimed else rule.direction
    return FaultRule("", drawn.fault, direction=direction, **keys)


def _placed(effect: FaultRule, pairs: Pairs, every: Pairs) -> list[FaultRule]:
    """The effect on these pairs of TP ranks, with as few conditions as say so."""
    if KINDS[effect.fault].is_aimed or pairs >= every:
        return [effect]
    prefill = frozenset(pair[0] for pair in pairs)
    decode = frozenset(pair[1] for pair in pairs)
    if pairs == frozenset((p, d) for p in prefill for d in decode if (p, d) in every):
        return [dataclasses.replace(effect, prefill_tp_ranks=prefill, decode_tp_ranks=decode)]
    return [
        dataclasses.replace(effect, prefill_tp_ranks=frozenset({p}), decode_tp_ranks=frozenset({d}))
        for p, d in sorted(pairs)
    ]
