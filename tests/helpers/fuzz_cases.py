"""Random small replays by number: a plan of any faults, an engine, a topology, a trace."""

from __future__ import annotations

import dataclasses
import random
from typing import Any, get_args

import numpy as np

from faults.chance import Burst, Duration, LogNormal, Uniform
from faults.events import DECODE_STATES, PREFILL_STATES, STATES_OF_RECEIVERS
from faults.kinds.registry import KINDS
from faults.kinds.timeout import TIMEOUT_STATES
from faults.rule import Condition, Detour, FaultRule, Scope
from replay.errors import ProfileError
from replay.profiles.catalogue import builtin_profiles
from replay.profiles.profile import EngineProfile
from replay.run.session import SessionOptions
from replay.run.swarm import SwarmBounds
from traces.schema import TraceRequest

BLOCK_SIZE = 16


@dataclasses.dataclass(frozen=True)
class Case:
    """One replay; `block_size` is that of its trace."""

    requests: list[TraceRequest]
    block_size: int | None
    profile: EngineProfile
    rules: tuple[FaultRule, ...]
    options: SessionOptions


def make_case(number: int) -> Case:
    """The case of that number, always the same."""
    dice = random.Random(f"fault fuzz {number}")
    block_size = dice.choice((None, BLOCK_SIZE))
    requests = _requests(dice, block_size)
    names = [request.request_id for request in requests]
    return Case(
        requests,
        block_size,
        _profile(dice),
        tuple(_rule(dice, place, names) for place in range(dice.choice((1, 1, 2, 3, 5)))),
        SessionOptions(
            seed=dice.randint(0, 99),
            every_step=dice.random() < 0.3,
            repeats=dice.choice((0, 0, 1)),
            stop_on_engine_error=dice.random() < 0.1,
        ),
    )


def _requests(dice: random.Random, block_size: int | None) -> list[TraceRequest]:
    rows, now_us = [], 0
    for number in range(dice.randint(1, 30)):
        now_us += dice.choice((0, dice.randint(0, 50_000), dice.randint(0, 800_000)))
        tokens, hashes = dice.randint(1, 900), None
        if block_size is not None:
            shared = dice.randint(0, 3) * 1_000
            blocks = range(-(-tokens // block_size))
            hashes = [shared + each if each < 10 else number * 10**6 + each for each in blocks]
        rows.append(
            TraceRequest(
                f"q{number}",
                now_us,
                tokens,
                dice.randint(1, 150),
                block_hashes=None if hashes is None else np.array(hashes, dtype=np.uint64),
                session_id=dice.choice((None, f"s{number % 3}")),
                cancel_us=now_us + dice.randint(0, 5_000_000) if dice.random() < 0.1 else None,
            )
        )
    return rows


def _profile(dice: random.Random) -> EngineProfile:
    base = builtin_profiles()[dice.choice(sorted(builtin_profiles()))]
    while True:
        tokens = dice.choice((1_024, 2_048, 8_192))
        sizes = dice.choice(SwarmBounds().topologies)
        fields: dict[str, Any] = dict(
            zip(("prefill_tp", "prefill_dp", "decode_tp", "decode_dp"), sizes, strict=True)
        )
        fields |= {
            "mla": dice.random() < 0.5,
            "page_size": dice.choice((1, 16, 64)),
            "total_tokens": tokens,
            "prefill_total_tokens": tokens,
            "reserved_decode_tokens": 32,
            "max_running_requests": dice.choice((2, 4, 64)),
            "chunked_prefill_tokens": dice.choice((256, 8_192)),
            "prefill_instances": dice.randint(1, 2),
            "decode_instances": dice.randint(1, 2),
            "transfer_skew_us": dice.choice((0, 0, 7_000)),
            "bootstrap_rooms": dice.choice((0, 0, 3, 16)),
            "metadata_slots": dice.choice((4, 256)),
            "transfer_us": dice.choice((0, 1_500, 400_000)),
        }
        try:
            return dataclasses.replace(base, **fields)
        except ProfileError:
            continue


def _duration(dice: random.Random) -> Duration:
    time_us = max(1, round(10 ** dice.uniform(0, 7.9)))
    return dice.choice(
        (time_us, Uniform(time_us // 2, time_us), LogNormal(time_us, 1.5, 4 * time_us))
    )


def _rule(dice: random.Random, place: int, names: list[str]) -> FaultRule:
    kind = dice.choice(tuple(KINDS))
    is_aimed = kind in ("abort", "timeout")
    direction = "decode" if is_aimed else dice.choice(("decode", "prefill"))
    given: dict[str, Any] = {"direction": direction} | _what(dice, kind)

    def maybe(share: float, **conditions: object) -> None:
        if dice.random() < share:
            given.update(conditions)

    maybe(0.5, probability=dice.choice((0.1, 0.5, 0.9)))
    numbers = frozenset(dice.sample(range(1, 8), 3))
    maybe(0.2, occurrences=numbers, occurrences_per=dice.choice(get_args(Scope)))
    maybe(0.1, request_ids=frozenset(dice.sample(names, min(3, len(names)))))
    maybe(0.1, session_ids=frozenset({"s1"}))
    maybe(0.1, pools=frozenset({f"{direction}0/dp0"}))
    maybe(0.1, after_us=dice.randint(0, 2_000_000))
    maybe(0.1, before_us=dice.randint(2_000_001, 9_000_000))
    every_us = dice.randint(1_000, 4_000_000)
    maybe(0.15, burst=Burst(dice.randint(1, every_us), every_us, 0.7))
    if not is_aimed:
        maybe(0.1, decode_tp_ranks=frozenset({0, 1}))
        maybe(0.1, states=frozenset(dice.sample(STATES_OF_RECEIVERS[direction], 4)))
    return FaultRule(f"rule {place}", kind, **given)


def _what(dice: random.Random, kind: str) -> dict[str, Any]:
    some = dice.random() < 0.6
    if kind == "delay":
        held = {"until": dice.choice(get_args(Condition))}
        return ({"delay_us": _duration(dice)} if some else {}) | ({} if some else held)
    if kind == "stale":
        return {"until": dice.choice(("pages-reused", "room-reused"))}
    if kind == "duplicate":
        return {"copies": dice.randint(1, 4), "copy_delay_us": _duration(dice) if some else 0}
    if kind == "reorder":
        return {"window_us": max(1, round(10 ** dice.uniform(1, 8)))}
    if kind == "misroute":
        return {"to": dice.choice(get_args(Detour))}
    if kind == "early":
        return {"early_us": dice.choice((1, 1_000, 200_000)) if some else None}
    if kind == "partial":
        return {"keep": dice.randint(1, 3)}
    if kind == "timeout":
        return {"when": dice.choice(TIMEOUT_STATES)}
    if kind == "abort":
        when = dice.choice((*DECODE_STATES, *PREFILL_STATES))
        return {"when": when, "delay_us": _duration(dice) if not some else 0}
    return {}
