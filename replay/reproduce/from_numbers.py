"""From two numbers that an engine printed to a trace and a plan that make them happen again.

    gap = total - available = pages * page_size

A leak is made of requests whose decode completions are lost (persistent) or late (transient): each
holds its prompt's pages. The engine's own check never sees these, its gate is closed; a leak that it
must see is made of requests whose clients go away when their KV has landed and the batch is full
(`replay.reproduce.engine_check`). An over-free is made of requests whose prefill acknowledgements arrive
twice at a pair that frees on each. Either way the gap is a sum of whole prompts, so the requests are
found by an exact subset-sum over a trace; nothing is special about any pair of numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faults.rule import FaultPlan, FaultRule
from replay.profiles.profile import EngineProfile
from replay.profiles.routing import decode_place, decode_places
from replay.reproduce.engine_check import abort_while_waiting
from replay.reproduce.wanted_gap import (
    PAUSE_US,
    Reproduction,
    WantedGap,
    without_reserve_where_tight,
)
from traces.schema import TraceRequest

#: How long after the last arrival late events and second acknowledgements come.
_LATE_US = 120_000_000


def fit_profile(profile: EngineProfile, wanted: WantedGap) -> EngineProfile:
    """The profile with the wanted pool: on the decode side for a leak, prefill for an over-free.

    Raises:
        ProfileError: the pool is not whole pages.
    """
    changes: dict[str, object] = {
        "page_size": wanted.page_size,
        "total_tokens": wanted.total,
        "prefill_total_tokens": wanted.total,
    }
    if wanted.is_over_free:
        changes |= {"prefill_cache": "chunk", "duplicate_acknowledgement": "free-again"}
    return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]


def choose(
    requests: Sequence[TraceRequest], profile: EngineProfile, wanted: WantedGap, reorder: bool
) -> Reproduction | None:
    """Choose requests whose prompts make the gap, or None when no subset of this trace does.

    A leak must lie in one decode rank's pool, so each rank's requests are tried in turn. With
    `reorder` the chosen ones change places with later requests of the same rank and come last,
    after a pause, which leaves the pool to them alone.
    """
    places = 1 if wanted.is_over_free else decode_places(profile)
    for place in range(places):
        mine = list(range(place, len(requests), places))
        weights = [-(-requests[each].input_tokens // wanted.page_size) for each in mine]
        if wanted.is_over_free and wanted.by_engine_check:
            # The check fires on the first of several: only one alone gives the whole gap at once.
            if reorder:
                requests, weights = _with_one_of(requests, wanted)
            subset = [weights.index(wanted.pages)] if wanted.pages in weights else None
        else:
            subset = subset_with_sum(weights, wanted.pages)
        if subset is None:
            continue
        chosen = [mine[index] for index in subset]
        rows = list(requests)
        if wanted.by_engine_check and not wanted.is_over_free:
            found = abort_while_waiting(rows, mine, chosen, profile, wanted)
            if found is not None:
                return found
            continue
        if reorder:
            rows, chosen = _chosen_last(rows, mine, chosen)
        return _reproduction(rows, chosen, profile, wanted)
    return None


def _with_one_of(
    requests: Sequence[TraceRequest], wanted: WantedGap
) -> tuple[list[TraceRequest], list[int]]:
    """The requests with the last one made as long as the gap, and the pages of each."""
    tokens = wanted.pages * wanted.page_size
    rows = [
        *requests[:-1],
        dataclasses.replace(requests[-1], input_tokens=tokens, block_hashes=None),
    ]
    return rows, [-(-row.input_tokens // wanted.page_size) for row in rows]


def subset_with_sum(weights: Sequence[int], target: int) -> list[int] | None:
    """Indices, ascending, of weights that add up to `target` exactly, or None.

    Dynamic programming over one big integer whose bit s says that s can be reached; beside it the
    item that first reached each sum. Time O(items * target / 64), memory two bytes a sum.
    """
    if len(weights) > np.iinfo(np.uint16).max:
        weights = weights[: np.iinfo(np.uint16).max]
    reached_by: npt.NDArray[np.uint16] = np.zeros(target + 1, dtype=np.uint16)
    mask = (1 << (target + 1)) - 1
    reachable = 1
    for item, weight in enumerate(weights):
        fresh = (reachable << weight) & mask & ~reachable
        if fresh:
            reached_by[_set_bits(fresh, target + 1)] = item
            reachable |= fresh
        if reachable >> target & 1:
            break
    else:
        return None
    chosen, left = [], target
    while left:
        item = int(reached_by[left])
        chosen.append(item)
        left -= weights[item]
    return sorted(chosen)


def _set_bits(number: int, width: int) -> npt.NDArray[np.int64]:
    """Positions of the ones of a number below 2 ** width."""
    raw = np.frombuffer(number.to_bytes(-(-width // 8), "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little"))


def _chosen_last(
    rows: list[TraceRequest], mine: list[int], chosen: list[int]
) -> tuple[list[TraceRequest], list[int]]:
    """Give the last places of a rank to the chosen requests; every place keeps its arrival time."""
    wanted = set(chosen)
    order = [each for each in mine if each not in wanted] + chosen
    placed = list(rows)
    for position, source in zip(mine, order, strict=True):
        placed[position] = dataclasses.replace(rows[source], arrival_us=rows[position].arrival_us)
    last_places = mine[len(mine) - len(chosen) :]
    for position in range(last_places[0], len(placed)):
        late = placed[position].arrival_us + PAUSE_US
        placed[position] = dataclasses.replace(placed[position], arrival_us=late)
    return placed, last_places


def _reproduction(
    rows: list[TraceRequest], chosen: list[int], profile: EngineProfile, wanted: WantedGap
) -> Reproduction:
    ids = tuple(rows[each].request_id for each in chosen)
    late_us = rows[-1].arrival_us + _LATE_US
    if wanted.is_over_free:
        rule = FaultRule(
            "acknowledged-twice",
            "duplicate",
            direction="prefill",
            request_ids=frozenset(ids),
            copy_delay_us=late_us,
        )
    elif wanted.persistence == "persistent":
        rule = FaultRule("lost", "drop", request_ids=frozenset(ids))
    else:
        rule = FaultRule("late", "delay", request_ids=frozenset(ids), delay_us=late_us)
    roomy = without_reserve_where_tight(profile, wanted, len(chosen) + 1)
    if not wanted.is_over_free and roomy != profile:
        # Then the pool may run dry as they decode, and where rooms keep their status whoever is
        # retracted never comes back: another defect than the one to be shown.
        profile = dataclasses.replace(roomy, used_rooms="forgotten")
    instance, dp_rank = decode_place(profile, chosen[0])
    where = "prefill acknowledgements" if wanted.is_over_free else f"decode{instance}/dp{dp_rank}"
    comment = (
        f"{len(ids)} requests whose prompts are {wanted.pages} pages of {wanted.page_size} tokens "
        f"at {where}: available {wanted.available} of {wanted.total}"
    )
    return Reproduction(
        tuple(rows), ids, profile, FaultPlan((rule,), comment), late_us + 600_000_000
    )
