"""Swarm testing: one seed draws a topology, some of the faults, and how hard each hits.

A run that may do everything at once mostly meets the same few interactions; a random subset of the
faults, each with an intensity of its own, meets the rest. Everything follows from the seed, the
profile and how many requests the trace has, so the seed repeats it. What is drawn stays within
`SwarmBounds`, and is chosen so that it can have an effect: no rank is misrouted to where there is one,
no timeout ends that the engine does not have.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Collection
from dataclasses import dataclass

from faults.durations import Duration, LogNormal, Uniform
from faults.events import Direction, RequestState
from faults.rule import Detour, FaultKind, FaultPlan, FaultRule
from replay.errors import ProfileError
from replay.profiles.profile import EngineProfile

#: (prefill_tp, prefill_dp, decode_tp, decode_dp): every way of pairing senders and receivers.
Topology = tuple[int, int, int, int]

#: Topologies drawn until one fits the engine.
_TRIES_MAX = 100
_SIZES = ("prefill_tp", "prefill_dp", "decode_tp", "decode_dp")


@dataclass(frozen=True, slots=True)
class SwarmBounds:
    """What a swarm run is drawn from."""

    topologies: tuple[Topology, ...] = (
        (1, 1, 1, 1),
        (2, 2, 2, 2),
        (4, 1, 4, 1),
        (4, 1, 4, 4),
        (4, 1, 4, 2),
        (4, 2, 8, 2),
        (2, 1, 8, 2),
        (8, 1, 8, 8),
    )
    instances_max: int = 2
    #: Each kind of fault takes part with this probability, and at least one does.
    kind_probability: float = 0.35
    #: Times that a rule is expected to hit at least; in a short trace this goes before the two
    #: bounds below, for a rule that never hits tests nothing.
    hits_min: int = 8
    probability_max: float = 0.5
    #: Share of requests whose client goes away, at most.
    abort_rate_max: float = 0.2
    delay_us_min: int = 200_000
    delay_us_max: int = 60_000_000
    copies_max: int = 3


@dataclass(frozen=True, slots=True)
class Swarm:
    """What one seed has drawn: profile fields and a plan."""

    settings: dict[str, object]
    plan: FaultPlan

    def to_dict(self) -> dict[str, object]:
        """As run.json and summary.json hold it: fields by name, and the names of the rules."""
        return {"settings": self.settings, "rules": [rule.name for rule in self.plan.rules]}


def draw_swarm(
    seed: int,
    profile: EngineProfile,
    requests: int,
    fixed: Collection[str] = (),
    bounds: SwarmBounds | None = None,
) -> Swarm:
    """Draw a topology and a plan for a trace of that many requests.

    Args:
        seed: the same seed draws the same.
        profile: the engine; its timeouts and latencies say which faults can have an effect.
        requests: of the trace; rules hit often enough that each surely hits.
        fixed: profile fields that stay as they are.
        bounds: what to draw from; the defaults are wide.
    """
    bounds = bounds or SwarmBounds()
    dice = _Dice(random.Random(f"kvreplay swarm {seed}"), bounds, requests)
    settings, drawn = _fitting_topology(dice, profile, fixed)
    return Swarm(settings, FaultPlan(dice.rules(drawn), source=f"swarm of seed {seed}"))


def _fitting_topology(
    dice: _Dice, profile: EngineProfile, fixed: Collection[str]
) -> tuple[dict[str, object], EngineProfile]:
    """A topology that the engine can be deployed in, and the profile in it."""
    for _ in range(_TRIES_MAX):
        settings = dice.topology()
        for names in (_SIZES, *((name,) for name in settings)):
            # The sizes go together: a part of them might not fit the rest.
            if any(name in fixed for name in names):
                settings = {name: each for name, each in settings.items() if name not in names}
        try:
            return settings, dataclasses.replace(profile, **settings)  # type: ignore[arg-type]
        except ProfileError:
            # Such as mixed TP sizes, which some engines pair with MLA only.
            continue
    return {}, profile


class _Dice:
    """One seed's draws, in a fixed order."""

    def __init__(self, random_: random.Random, bounds: SwarmBounds, requests: int) -> None:
        self._random = random_
        self._bounds = bounds
        self._requests = max(1, requests)

    def topology(self) -> dict[str, object]:
        settings: dict[str, object] = {}
        settings |= zip(_SIZES, self._random.choice(self._bounds.topologies), strict=True)
        return settings | {
            "prefill_instances": self._random.randint(1, self._bounds.instances_max),
            "decode_instances": self._random.randint(1, self._bounds.instances_max),
            "mla": self._random.random() < 0.5,
        }

    def rules(self, profile: EngineProfile) -> tuple[FaultRule, ...]:
        kinds = _possible_kinds(profile)
        chosen = [
            kind for kind in kinds if self._random.random() < self._bounds.kind_probability
        ] or [self._random.choice(kinds)]
        return tuple(self._rule(kind, profile) for kind in chosen)

    def _rule(self, kind: FaultKind, profile: EngineProfile) -> FaultRule:
        direction = self._random.choice(_directions(kind, profile))
        rule = FaultRule(
            f"swarm {kind}", kind, direction=direction, probability=self._probability()
        )
        if kind == "delay":
            return dataclasses.replace(rule, delay_us=self._delay())
        if kind == "duplicate":
            copies = self._random.randint(1, self._bounds.copies_max)
            return dataclasses.replace(rule, copies=copies, copy_delay_us=self._delay())
        if kind == "reorder":
            window_us = min(10 * self._time(), self._bounds.delay_us_max)
            return dataclasses.replace(rule, window_us=window_us, probability=self._often())
        if kind == "misroute":
            to = self._random.choice(_detours(direction, profile))
            return dataclasses.replace(rule, to=to)
        if kind in ("early", "stale"):
            # Most of these change nothing: the poll comes later anyway, the page stays free.
            return dataclasses.replace(rule, probability=self._often())
        if kind == "abort":
            return FaultRule(
                rule.name, kind, probability=self._abort_rate(), when=self._random.choice(_ABORTED)
            )
        if kind == "timeout":
            when = self._random.choice(_timeouts(profile))
            return FaultRule(rule.name, kind, probability=rule.probability, when=when)
        return rule

    # Intensities; each order of magnitude is as likely as another.

    def _probability(self) -> float:
        return self._between(self._hits(), self._bounds.probability_max)

    def _often(self) -> float:
        return round(self._random.uniform(0.5, 1.0), 4)

    def _abort_rate(self) -> float:
        return self._between(self._hits(), self._bounds.abort_rate_max)

    def _hits(self) -> float:
        return min(1.0, self._bounds.hits_min / self._requests)

    def _between(self, least: float, most: float) -> float:
        if least >= most:
            return _four_digits(least)
        return _four_digits(math.exp(self._random.uniform(math.log(least), math.log(most))))

    def _time(self) -> int:
        least, most = math.log(self._bounds.delay_us_min), math.log(self._bounds.delay_us_max)
        return round(math.exp(self._random.uniform(least, most)))

    def _delay(self) -> Duration:
        shape = self._random.choice(("fixed", "uniform", "lognormal"))
        middle_us = self._time()
        if shape == "uniform":
            most_us = min(2 * middle_us, self._bounds.delay_us_max)
            return Uniform(self._bounds.delay_us_min, most_us)
        if shape == "lognormal":
            return LogNormal(middle_us, 1.0, self._bounds.delay_us_max)
        return middle_us


def _four_digits(probability: float) -> float:
    """As short as people write it; in a long trace the first of the digits may stand far back."""
    return float(f"{probability:.4g}")


#: States that a request stays in for a while on every engine, so that an abort can hit it there.
_ABORTED: tuple[RequestState, ...] = (
    "prealloc",
    "transfer",
    "moving",
    "landed",
    "running",
    "prefilling",
    "in-flight",
)


def _possible_kinds(profile: EngineProfile) -> list[FaultKind]:
    """The kinds that can have an effect on this engine in this topology."""
    kinds: list[FaultKind] = ["drop", "delay", "duplicate", "reorder", "fail", "abort", "early"]
    if not profile.allocator_sorts_pages and profile.page_size > 1:
        # Freed pages are given out next; in the other orders a big pool takes long to come round.
        kinds.append("stale")
    if _detours("decode", profile) or _detours("prefill", profile):
        kinds.append("misroute")
    if _directions("partial", profile):
        kinds.append("partial")
    if _timeouts(profile):
        kinds.append("timeout")
    return sorted(kinds)


def _directions(kind: FaultKind, profile: EngineProfile) -> tuple[Direction, ...]:
    """The directions in which this fault can have an effect."""
    both: tuple[Direction, ...] = ("decode", "prefill")
    if kind == "partial":
        parties = profile.parties()
        parts = {"decode": len(parties.completions), "prefill": len(parties.real_senders)}
        return tuple(direction for direction in both if parts[direction] > 1)
    if kind == "early":
        # A decode instance that is busy rarely polls while a transfer lasts.
        return ("prefill",)
    if kind == "stale":
        # An acknowledgement of a prompt whose pages the cache took over is hard to make stale.
        return ("decode",)
    return both


def _detours(direction: Direction, profile: EngineProfile) -> tuple[Detour, ...]:
    """Where an event can be misrouted to."""
    ranks = profile.decode_dp if direction == "decode" else profile.prefill_dp
    return ("kind", "rank", "room") if ranks > 1 else ("kind", "room")


def _timeouts(profile: EngineProfile) -> tuple[RequestState, ...]:
    """States in which this engine has a timeout, and that every request passes."""
    waits: tuple[tuple[RequestState, int | None], ...] = (
        ("bootstrap", profile.bootstrap_timeout_us),
        ("transfer", profile.waiting_timeout_us),
        ("landed", profile.completion_timeout_us),
        ("in-flight", profile.acknowledgement_timeout_us),
    )
    return tuple(state for state, timeout_us in waits if timeout_us is not None)
