"""Which replays are labelled: every profile in turn, with every bug, every fault, and without any.

A cell follows from the seed and its number alone. A lead of some quiet seconds stands before each
cycle's requests, as between the tries of somebody who watches a server: without it a log has no check
in it to speak of. Half of the engines whose check kills are told to warn instead, which is what people
are advised to do.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

import numpy as np

from faults.rule import FaultPlan
from replay.profiles.catalogue import builtin_profiles
from replay.profiles.defects import all_defects, with_defects
from replay.profiles.profile import EngineProfile
from replay.run.swarm import SwarmBounds, draw_swarm
from traces.schema import TraceRequest

BLOCK_SIZE = 64
#: Clean cycles after the faulty one, at least and at most.
CYCLES = (3, 5)

_CLEAN_SHARE, _ONE_FAULT_SHARE = 0.15, 0.65


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """One replay to be labelled and diagnosed."""

    number: int
    seed: int
    profile: EngineProfile
    #: Name of the profile, and a bug that it was given besides.
    engine: str
    defect: str | None
    plan: FaultPlan
    requests: tuple[TraceRequest, ...]
    repeats: int

    @property
    def faults(self) -> str:
        """The kinds of its faults in words."""
        return " + ".join(sorted({rule.fault for rule in self.plan.rules})) or "none"


def draw_cell(seed: int, number: int) -> LabelledCell:
    """The cell of that number."""
    random_ = random.Random(f"kvreplay labelled {seed} {number}")
    profiles, defects = builtin_profiles(), sorted(all_defects())
    engine = sorted(profiles)[number % len(profiles)]
    profile = dataclasses.replace(
        profiles[engine],
        **_deployment(random_, profiles[engine]),  # type: ignore[arg-type]
    )
    defect = None
    if random_.random() < 0.5:
        defect = defects[number // len(profiles) % len(defects)]
        profile = with_defects(profile, (defect,))
    requests = _requests(random_, profile)
    profile, plan = _faults(random_, profile, len(requests))
    return LabelledCell(
        number, seed, profile, engine, defect, plan, requests, random_.randint(*CYCLES)
    )


def _faults(
    random_: random.Random, profile: EngineProfile, requests: int
) -> tuple[EngineProfile, FaultPlan]:
    """A topology, and no fault, one, or several."""
    lot, seed = random_.random(), random_.randrange(2**32)
    one_only = SwarmBounds(kind_probability=0.0, hits_min=2)
    bounds = one_only if lot < _CLEAN_SHARE + _ONE_FAULT_SHARE else SwarmBounds(hits_min=2)
    swarm = draw_swarm(seed, profile, requests, bounds=bounds)
    profile = dataclasses.replace(profile, **swarm.settings)  # type: ignore[arg-type]
    return profile, FaultPlan() if lot < _CLEAN_SHARE else swarm.plan


def _deployment(random_: random.Random, profile: EngineProfile) -> dict[str, object]:
    page_size = random_.choice((1, 16, 64))
    fields: dict[str, object] = {
        "page_size": page_size,
        "total_tokens": 64 * random_.choice((128, 512, 4096)),
        "prefill_total_tokens": 64 * random_.choice((128, 512, 4096)),
        "client_abort_reaches": random_.choice(("both", "decode")),
        # Routers draw rooms from many; few use some again soon.
        "bootstrap_rooms": random_.choice((0,) * 9 + (8,)),
        "transfer_us_per_page": page_size * random_.choice((1, 20, 500)),
    }
    if profile.check_strictness == "error" and random_.random() < 0.5:
        fields["check_strictness"] = "warn"
    return fields


def _requests(random_: random.Random, profile: EngineProfile) -> tuple[TraceRequest, ...]:
    """A few requests after a lead of quiet, some with a common beginning, some aborted."""
    now_us = 25_000_000 if profile.message_style == "vllm" else 4_000_000
    abort_rate = random_.choice((0.0, 0.0, 0.0, 0.2))
    rows = []
    for number in range(random_.randint(8, 24)):
        now_us += random_.randint(0, 400_000)
        input_tokens = random_.randint(20, 900)
        blocks = -(-input_tokens // BLOCK_SIZE)
        common, family = random_.randint(0, blocks), random_.randint(1, 2)
        hashes = [family * 1_000 + each for each in range(common)]
        hashes += [100_000 * (number + 1) + each for each in range(common, blocks)]
        cancel_us = None
        if random_.random() < abort_rate:
            cancel_us = now_us + random_.randint(5_000, 2_000_000)
        rows.append(
            TraceRequest(
                f"r{number}",
                now_us,
                input_tokens,
                random_.randint(20, 250),
                block_hashes=np.array(hashes, dtype=np.uint64),
                cancel_us=cancel_us,
            )
        )
    return tuple(rows)
