"""Every fault kind there is: the one list to which a new kind is added."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from faults.draw import Dice
from faults.kinds.abort import Abort
from faults.kinds.base import KEYS_ABOUT_EVENTS, STAGE_MEANINGS, Deployment, FaultKind
from faults.kinds.delay import Delay
from faults.kinds.drop import Drop
from faults.kinds.duplicate import Duplicate
from faults.kinds.early import Early
from faults.kinds.fail import Fail
from faults.kinds.misroute import Misroute
from faults.kinds.partial import Partial
from faults.kinds.reorder import Reorder
from faults.kinds.stale import Stale
from faults.kinds.timeout import Timeout
from faults.rule import FIELDS, FaultRule, meaning_of

_ALL: tuple[FaultKind, ...] = (
    Drop(),
    Delay(),
    Duplicate(),
    Reorder(),
    Misroute(),
    Early(),
    Partial(),
    Fail(),
    Stale(),
    Abort(),
    Timeout(),
)

#: By name, in the order in which they are shown.
KINDS: dict[str, FaultKind] = {kind.name: kind for kind in _ALL}

#: Keys that say what some kind does; the others say which events a rule hits.
KIND_KEYS: frozenset[str] = frozenset().union(*(kind.keys for kind in _ALL))


def trigger_meanings(kind: FaultKind | None = None) -> dict[str, str]:
    """The keys that say which events a rule hits, or a rule of one kind, each with its meaning."""
    refused = KEYS_ABOUT_EVENTS if kind is not None and kind.is_aimed else ()
    return {
        key: meaning_of(key)
        for key in FIELDS
        if key not in KIND_KEYS and key not in ("name", "fault", *refused)
    }


def plain_rule(rule: FaultRule) -> FaultRule:
    """A rule without keys that its kind does not take, which no plan file may have."""
    kind = KINDS[rule.fault]
    unused = set(KIND_KEYS - kind.keys)
    unused |= set(KEYS_ABOUT_EVENTS) if kind.is_aimed else set()
    unused |= {"occurrences_per"} if rule.occurrences is None else set()
    defaults: dict[str, Any] = {key: FIELDS[key].default for key in unused}
    return dataclasses.replace(rule, **defaults)


def draw_rule(name: str, kind: FaultKind, dice: Dice, deployment: Deployment) -> FaultRule:
    """A random rule of one kind, which must be able to have an effect in the deployment."""
    direction = dice.choice(kind.directions(deployment))
    rule = FaultRule(name, kind.name, direction=direction, probability=dice.probability())
    return kind.drawn(rule, dice, deployment)


def draw_rules(prefix: str, dice: Dice, deployment: Deployment) -> tuple[FaultRule, ...]:
    """A random rule each of some of the kinds that can have an effect in the deployment."""
    kinds = [KINDS[name] for name in sorted(KINDS) if KINDS[name].directions(deployment)]
    chosen = dice.some(kinds)
    return tuple(draw_rule(f"{prefix} {each.name}", each, dice, deployment) for each in chosen)


def combination() -> Iterator[tuple[str, str]]:
    """The kinds of each stage, and what rules of these do to an event that several rules hit."""
    for stage, meaning in STAGE_MEANINGS.items():
        yield ", ".join(kind.name for kind in _ALL if kind.stage is stage), meaning


def kinds_in(faults: str | None) -> list[FaultKind]:
    """The kinds that a recorded event names, such as `delay + fail`; unknown ones are left out."""
    return [KINDS[name] for name in (faults or "").split(" + ") if name in KINDS]
