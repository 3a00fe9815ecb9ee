"""A leak that the engine's own idle check must see: aborts of requests that wait to be batched.

sglang 0.4.6 takes an aborted request out of the waiting queue and frees nothing, and its idle check
asks the prealloc and transfer queues only. So the chosen requests are made to wait with their KV in
place, behind one that keeps the batch, and their clients go away together:

    holder    |--prefill--|------------- runs, the batch is full -------------|  idle: check fires
    chosen       |--prefill, transfer--|-- wait --| all aborted, pages lost
"""

from __future__ import annotations

import dataclasses

from faults.rule import FaultPlan
from replay.errors import NoSuchGapError
from replay.profiles.profile import EngineProfile
from replay.profiles.routing import decode_places
from replay.reproduce.wanted_gap import (
    PAUSE_US,
    Reproduction,
    WantedGap,
    without_reserve_where_tight,
)
from traces.schema import TraceRequest

#: Idle time around the aborts, so that nothing depends on the last iteration.
_MARGIN_US = 500_000


def abort_while_waiting(
    rows: list[TraceRequest],
    mine: list[int],
    chosen: list[int],
    profile: EngineProfile,
    wanted: WantedGap,
) -> Reproduction | None:
    """Let the chosen requests of one decode rank (`mine`) leak; None when nobody can hold the batch.

    Raises:
        NoSuchGapError: the profile does not leak them, or too little stays free for the holder.
    """
    _require_a_leak(profile)
    places = decode_places(profile)
    taken = set(chosen)
    holders = [each for each in mine if each not in taken]
    if not holders:
        return None
    holder = min(holders, key=lambda each: rows[each].input_tokens)
    others = [rows[each] for each in range(len(rows)) if each not in taken and each != holder]
    in_tail = (places - 1) * (len(chosen) + 1)
    front_size = (len(others) - in_tail) // places * places
    if front_size < 0:
        return None
    # The shortest, cut to one token, fill the turns of the other ranks: the holder must outlast
    # what they take.
    shortest = sorted(range(len(others)), key=lambda each: others[each].input_tokens)[:in_tail]
    fillers = [_shortened(others[each]) for each in shortest]
    front = [row for each, row in enumerate(others) if each not in set(shortest)][:front_size]
    start_us = (front[-1].arrival_us if front else 0) + _drained_us(front, profile)
    first = [_shortened(rows[holder]), *fillers[: places - 1]]
    chosen_us = start_us + _landed_us(first, profile) + _MARGIN_US
    mine_rows = [first[0], *(rows[each] for each in chosen)]
    tail = _interleave(mine_rows, fillers, places, mine[0])
    abort_us = chosen_us + _landed_us(tail, profile) + _MARGIN_US
    hold_tokens = (abort_us + _MARGIN_US - start_us) // profile.decode_step_us + 2
    _require_room(wanted, hold_tokens + 2)
    ids = {rows[each].request_id for each in chosen}
    placed = [dataclasses.replace(row, cancel_us=None) for row in front]
    for number, row in enumerate(tail):
        changes: dict[str, int | None] = {
            "arrival_us": start_us if number < places else chosen_us,
            "cancel_us": abort_us if row.request_id in ids else None,
        }
        if row is first[0]:
            changes["output_tokens"] = hold_tokens
        placed.append(dataclasses.replace(row, **changes))  # type: ignore[arg-type]
    comment = (
        f"no completion is touched: the clients of {len(ids)} requests, {wanted.pages} pages of "
        f"{wanted.page_size} tokens, go away at {abort_us} us while these wait to be batched"
    )
    changed = without_reserve_where_tight(profile, wanted, len(chosen) + 2)
    changed = dataclasses.replace(changed, max_running_requests=1)
    return Reproduction(
        tuple(placed),
        tuple(rows[each].request_id for each in chosen),
        changed,
        FaultPlan((), comment),
        600_000_000,
    )


def require_a_check(profile: EngineProfile) -> None:
    """Make sure that the engine checks itself at all.

    Raises:
        NoSuchGapError: it does not.
    """
    if profile.check_strictness == "none":
        raise NoSuchGapError(
            f"--engine-check: {profile.name} has no idle check; choose another --profile"
        )


def _require_a_leak(profile: EngineProfile) -> None:
    if profile.abort_in_waiting != "leak":
        raise NoSuchGapError(
            f"--engine-check: {profile.name} frees what clients abort, so its own check has "
            "nothing to find; use --profile sglang-0.4.6.post4, or add "
            "--defect abort-in-waiting-leaks"
        )


def _require_room(wanted: WantedGap, tokens: int) -> None:
    """The holder needs pages as well, beside those that will be lost."""
    pages = -(-tokens // wanted.page_size)
    if pages * wanted.page_size > wanted.available:
        raise NoSuchGapError(
            f"--engine-check: only {wanted.available} tokens stay free, and the request that keeps "
            f"the batch busy until the others have landed needs {pages * wanted.page_size}; leave "
            "--engine-check out, or use a faster profile (--set prefill_us_per_1k_tokens=...)"
        )


def _shortened(row: TraceRequest) -> TraceRequest:
    """The request with a prompt of one token."""
    hashes = None if row.block_hashes is None else row.block_hashes[:1]
    return dataclasses.replace(row, input_tokens=1, block_hashes=hashes)


def _interleave(
    mine: list[TraceRequest], fillers: list[TraceRequest], places: int, place: int
) -> list[TraceRequest]:
    """One request of `mine` in every turn of the decode ranks, at its rank's place."""
    rest = iter(fillers)
    return [
        mine[turn] if each == place else next(rest)
        for turn in range(len(mine))
        for each in range(places)
    ]


def _drained_us(rows: list[TraceRequest], profile: EngineProfile) -> int:
    """How long it takes at most until these are done, one after the other on each rank."""
    outputs = sum(row.output_tokens + 4 for row in rows)
    step_us = profile.decode_step_us + profile.decode_step_us_per_request
    return PAUSE_US + outputs * step_us + _landed_us(rows, profile)


def _landed_us(rows: list[TraceRequest], profile: EngineProfile) -> int:
    """How long it takes at most until all these prompts are computed and have landed."""
    tokens = sum(row.input_tokens for row in rows)
    batches = len(rows) + tokens // profile.chunked_prefill_tokens
    compute_us = batches * profile.prefill_step_us
    compute_us += tokens * profile.prefill_us_per_1k_tokens // 1000
    longest = max((row.input_tokens for row in rows), default=0)
    pages = longest // profile.page_size + 1
    chunks = longest // profile.chunked_prefill_tokens + 1
    return compute_us + chunks * profile.transfer_us + pages * profile.transfer_us_per_page
