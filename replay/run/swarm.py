"""Swarm testing: one seed draws a topology, a subset of the faults, and their intensities.

A run with all faults at once mostly exercises the same few interactions; random subsets of the
faults, each with its own intensity, exercise the others. The draws depend only on the seed, the
profile and the number of requests in the trace, so a seed is reproducible. They stay within
`SwarmBounds`, and are chosen to have an effect: with a single rank, no event is misrouted to
another rank, and no timeout is triggered that the engine does not have.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection
from dataclasses import dataclass

from faults.draw import Dice, DrawBounds
from faults.events import RequestState
from faults.kinds.base import Deployment
from faults.kinds.registry import draw_rules
from faults.rule import FaultPlan
from replay.errors import ProfileError
from replay.profiles.profile import EngineProfile

#: (prefill_tp, prefill_dp, decode_tp, decode_dp): every way of pairing senders and receivers.
Topology = tuple[int, int, int, int]

#: Topologies drawn until one fits the engine.
_TRIES_MAX = 100
_SIZES = ("prefill_tp", "prefill_dp", "decode_tp", "decode_dp")


@dataclass(frozen=True, slots=True)
class SwarmBounds(DrawBounds):
    """The ranges that a swarm run draws from."""

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


@dataclass(frozen=True, slots=True)
class Swarm:
    """The draws of one seed: profile fields and a plan."""

    settings: dict[str, object]
    plan: FaultPlan

    def to_dict(self) -> dict[str, object]:
        """Return the form in run.json and summary.json: fields by name, and the names of the rules."""
        return {"settings": self.settings, "rules": [rule.name for rule in self.plan.rules]}


def draw_swarm(
    seed: int,
    profile: EngineProfile,
    requests: int,
    fixed: Collection[str] = (),
    bounds: SwarmBounds | None = None,
) -> Swarm:
    """Draw a topology and a plan for a trace with `requests` requests.

    Args:
        seed: the same seed gives the same draws.
        profile: the engine; its timeouts and latencies determine the faults that can have an effect.
        requests: number of requests; probabilities are high enough that each rule surely hits.
        fixed: profile fields that are not drawn.
        bounds: the ranges to draw from; the defaults are wide.
    """
    bounds = bounds or SwarmBounds()
    random_ = random.Random(f"kvreplay swarm {seed}")
    settings, deployed = _fitting_topology(random_, bounds, profile, fixed)
    rules = draw_rules("swarm", Dice(random_, bounds, requests), deployment_of(deployed))
    return Swarm(settings, FaultPlan(rules, source=f"swarm of seed {seed}"))


def deployment_of(profile: EngineProfile) -> Deployment:
    """Return the facts of a profile that fault kinds need to draw effective rules."""
    parties = profile.parties()
    timeouts: dict[RequestState, int | None] = {
        "bootstrap": profile.bootstrap_timeout_us,
        "transfer": profile.waiting_timeout_us,
        "landed": profile.completion_timeout_us,
        "in-flight": profile.acknowledgement_timeout_us,
    }
    return Deployment(
        dp_ranks={"decode": profile.decode_dp, "prefill": profile.prefill_dp},
        events={"decode": len(parties.completions), "prefill": len(parties.real_senders)},
        timeouts=tuple(state for state, time_us in timeouts.items() if time_us is not None),
        # Freed pages are allocated next; in the other orders, a large pool takes long to reuse them.
        reuses_pages_soon=not profile.allocator_sorts_pages and profile.page_size > 1,
    )


def _fitting_topology(
    random_: random.Random, bounds: SwarmBounds, profile: EngineProfile, fixed: Collection[str]
) -> tuple[dict[str, object], EngineProfile]:
    """Draw a topology in which the engine can be deployed, and return the profile with it."""
    for _ in range(_TRIES_MAX):
        settings = _topology(random_, bounds)
        for names in (_SIZES, *((name,) for name in settings)):
            # The sizes are set together, because a subset might not fit the others.
            if any(name in fixed for name in names):
                settings = {name: each for name, each in settings.items() if name not in names}
        try:
            return settings, dataclasses.replace(profile, **settings)  # type: ignore[arg-type]
        except ProfileError:
            # Such as mixed TP sizes, which some engines pair with MLA only.
            continue
    return {}, profile


def _topology(random_: random.Random, bounds: SwarmBounds) -> dict[str, object]:
    settings: dict[str, object] = {}
    settings |= zip(_SIZES, random_.choice(bounds.topologies), strict=True)
    return settings | {
        "prefill_instances": random_.randint(1, bounds.instances_max),
        "decode_instances": random_.randint(1, bounds.instances_max),
        "mla": random_.random() < 0.5,
    }
