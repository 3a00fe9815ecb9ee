"""Random schedules: a small trace with aborts, a fault plan, and a deployment to run them in.

Everything follows from one seed, so that the seed alone repeats a failure. What is drawn is what a
user could meet (arrivals, aborts, faults, topology, sizes, latencies, timeouts), never how an
engine behaves: a schedule does not know which profile or defect it will meet.
"""

from __future__ import annotations

import dataclasses
import math
import random
from dataclasses import dataclass

import numpy as np

from faults.draw import Dice, DrawBounds
from faults.kinds.base import FaultKind
from faults.kinds.delay import Delay
from faults.kinds.drop import Drop
from faults.kinds.duplicate import Duplicate
from faults.kinds.fail import Fail
from faults.kinds.misroute import Misroute
from faults.kinds.registry import draw_rule
from faults.rule import FaultPlan
from replay.profiles.catalogue import find_profile
from replay.run.swarm import deployment_of
from traces.schema import TraceRequest

BLOCK_SIZE = 16

#: (prefill_tp, prefill_dp, decode_tp, decode_dp)
_TOPOLOGIES = (
    (1, 1, 1, 1),
    (4, 1, 4, 1),
    (4, 1, 4, 4),
    (4, 1, 4, 2),
    (4, 2, 8, 2),
    (2, 1, 8, 2),
)
_KINDS: tuple[FaultKind, ...] = (Drop(), Delay(), Delay(), Duplicate(), Fail(), Misroute())
#: In a trace of a few requests, what is to show must be hit often.
_BOUNDS = DrawBounds(hits_min=5, probability_max=1.0, delay_us_min=1_000, copies_max=2)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One random run: who arrives and aborts, what goes wrong, and profile fields for where."""

    requests: tuple[TraceRequest, ...]
    plan: FaultPlan
    deployment: dict[str, object]


def draw_schedule(seed: int) -> Schedule:
    """The schedule of one seed."""
    random_ = random.Random(seed)
    deployment = _deployment(random_)
    requests = _requests(random_)
    engine = dataclasses.replace(find_profile("hardened"), **deployment)  # type: ignore[arg-type]
    dice, deployed = Dice(random_, _BOUNDS, len(requests)), deployment_of(engine)
    chosen = [random_.choice(_KINDS) for _ in range(random_.randint(0, 3))]
    rules = tuple(
        draw_rule(f"{kind.name}-{number}", kind, dice, deployed)
        for number, kind in enumerate(chosen)
    )
    return Schedule(requests, FaultPlan(rules), deployment)


def _between(random_: random.Random, least: int, most: int) -> int:
    """A whole number, each order of magnitude as likely as another."""
    return round(math.exp(random_.uniform(math.log(least), math.log(most))))


def _deployment(random_: random.Random) -> dict[str, object]:
    sizes = ("prefill_tp", "prefill_dp", "decode_tp", "decode_dp")
    page_size = random_.choice((1, 16, 64))
    return dict(zip(sizes, random_.choice(_TOPOLOGIES), strict=True)) | {
        "mla": random_.random() < 0.5,
        "decode_allocates": random_.choice(("before-prefill", "before-prefill", "after-prefill")),
        "client_abort_reaches": random_.choice(("both", "decode")),
        "bootstrap_rooms": random_.choice((0, 2, 4)),
        "page_size": page_size,
        "total_tokens": 64 * random_.choice((16, 24, 64)),
        "prefill_total_tokens": 64 * random_.choice((16, 24, 64)),
        "prefill_cache": random_.choice(("radix", "radix", "chunk")),
        "reserved_decode_tokens": random_.choice((0, 32)),
        "request_slots": random_.choice((4, 64)),
        "max_running_requests": random_.choice((1, 2, 8)),
        "metadata_slots": random_.choice((1, 2, 4, 64)),
        "prefill_metadata_slots": random_.choice((4, 64)),
        "chunked_prefill_tokens": random_.choice((128, 256, 1024)),
        "transfer_us": _between(random_, 500, 100_000),
        "transfer_us_per_page": page_size * _between(random_, 1, random_.choice((100, 10_000))),
        "transfer_skew_us": random_.choice((0, 2_000, 60_000)),
        "completion_latency_us": _between(random_, 100, 5_000),
        "control_latency_us": _between(random_, 100, 50_000),
        "bootstrap_timeout_us": _between(random_, 2_000_000, 300_000_000),
        "waiting_timeout_us": _between(random_, 500_000, 60_000_000),
        "completion_timeout_us": _between(random_, 100_000, 30_000_000),
        "acknowledgement_timeout_us": _between(random_, 100_000, 30_000_000),
    }


def _requests(random_: random.Random) -> tuple[TraceRequest, ...]:
    """A few requests close together, some with a common prefix, some aborted at any moment."""
    pause_us = _between(random_, 1_000, 200_000)
    abort_rate = random_.choice((0.0, 0.3, 0.6))
    rows, now_us = [], 0
    for number in range(random_.randint(1, 32)):
        now_us += random_.randint(0, pause_us)
        too_long = random_.random() < 0.02
        input_tokens = 5_000 if too_long else _between(random_, 1, 800)
        cancel_us = None
        if random_.random() < abort_rate:
            cancel_us = now_us + _between(random_, 5_000, 3_000_000)
        rows.append(
            TraceRequest(
                f"r{number}",
                now_us,
                input_tokens,
                _between(random_, 1, 400),
                block_hashes=_block_hashes(random_, number, -(-input_tokens // BLOCK_SIZE)),
                cancel_us=cancel_us,
            )
        )
    return tuple(rows)


def _block_hashes(random_: random.Random, number: int, blocks: int) -> np.ndarray:
    """Identity of a prompt's blocks: one of two common beginnings, then its own."""
    common = random_.randint(0, blocks)
    family = random_.randint(1, 2)
    return np.array(
        [family * 1_000 + block for block in range(common)]
        + [100_000 * (number + 1) + block for block in range(common, blocks)],
        dtype=np.uint64,
    )
