"""A swarm that hunts for a bug: one seed after the other draws who arrives, where, and what goes wrong.

    replay.reproduce.schedules   a small trace with aborts and shared prefixes, and a tight deployment
    replay.run.swarm       faults of every kind that can have an effect there, on every other seed; on
                       the others the fewer kinds that schedules draw themselves

A case is found when an oracle holds something against the pair (`replay.verdict.rules.objections`), and
nothing alike happens without the bugs that are hunted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from faults.kinds.registry import plain_rule
from faults.rule import FaultPlan
from replay.errors import ProfileError, ReplayError
from replay.profiles.catalogue import find_profile
from replay.profiles.defects import all_defects, require_new, with_defects
from replay.profiles.profile import EngineProfile
from replay.reproduce.schedules import BLOCK_SIZE, Schedule, draw_schedule
from replay.run.session import SessionOptions
from replay.run.swarm import draw_swarm
from replay.shrink.case import Case, settings_of
from replay.shrink.in_memory import replay_in_memory
from replay.shrink.outcome import outcome_of
from replay.shrink.search import Goal
from replay.verdict.rules import objections

#: The profile that is no engine's: a schedule may draw any of its fields.
_DESIGN = "hardened"
#: What an engine is, rather than how it is deployed.
_TRAITS = ("decode_allocates", "prefill_cache")


@dataclass(frozen=True, slots=True)
class Find:
    """A seed whose case went wrong."""

    seed: int
    case: Case
    goal: Goal


def hunt(
    profile: str,
    defects: tuple[str, ...],
    seeds: range,
    tell: Callable[[int], None] | None = None,
) -> Find | None:
    """Try seeds until one shows what is hunted; None when none does.

    Args:
        profile: a built-in engine profile.
        defects: bugs to switch on; they must be to blame. Without any, whatever goes wrong counts.
        seeds: tried in order.
        tell: told after each seed, as `progress_bar` takes it.

    Raises:
        ProfileError: the profile or a bug is unknown, or the profile has the bug anyway.
    """
    base = find_profile(profile)
    require_new(base, defects)
    for seed in seeds:
        find = _try(seed, base, defects)
        if tell is not None:
            tell(1)
        if find is not None:
            return find
    return None


def _try(seed: int, base: EngineProfile, defects: tuple[str, ...]) -> Find | None:
    try:
        case = draw_case(seed, base, defects)
        recording, verdict = replay_in_memory(case.to_request())
    except (ProfileError, ReplayError):
        # Such as a topology that this engine cannot be deployed in.
        return None
    outcome = outcome_of(verdict.summary, recording.run)
    if outcome is None or not objections(verdict.summary):
        return None
    goal = Goal(outcome, defects)
    return Find(seed, case, goal) if goal.holds(case) else None


def draw_case(seed: int, base: EngineProfile, defects: tuple[str, ...]) -> Case:
    """The case of one seed.

    Raises:
        ProfileError: the engine cannot be deployed as the seed wants it.
    """
    schedule = draw_schedule(seed)
    deployed = dataclasses.replace(base, **_deployment(schedule, base))  # type: ignore[arg-type]
    engine = with_defects(deployed, defects)
    plan = _plan(seed, schedule, engine)
    return Case(
        requests=schedule.requests,
        block_size=BLOCK_SIZE,
        profile=base.name,
        defects=defects,
        settings=settings_of(engine, with_defects(base, defects)),
        rules=tuple(plain_rule(rule) for rule in plan.rules),
        options=SessionOptions(seed=seed),
    )


def _plan(seed: int, schedule: Schedule, engine: EngineProfile) -> FaultPlan:
    if seed % 2 == 0:
        return schedule.plan
    fixed = tuple(field.name for field in dataclasses.fields(engine))
    return draw_swarm(seed, engine, len(schedule.requests), fixed).plan


def _deployment(schedule: Schedule, base: EngineProfile) -> dict[str, object]:
    """What a schedule sets of an engine: not what makes it the engine that it is."""
    if base.name == _DESIGN:
        return schedule.deployment
    bugs = {field for name in base.defects for field in all_defects()[name].changes}
    return {
        name: value
        for name, value in schedule.deployment.items()
        if name not in bugs and name not in _TRAITS and getattr(base, name) is not None
    }
