"""Fewer requests, and simpler ones: lengths, prefixes, sessions, names, pauses and aborts.

Arrivals get earlier by the pause before each request, with which all later requests move too; aborts
by the patience of each client.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np

from replay.errors import ProfileError
from replay.shrink.case import Case
from replay.shrink.search import Search, descend, keep_few
from replay.shrink.smaller.numbers import simpler_counts, simpler_times
from traces.schema import TraceRequest, block_count

#: Requests before the trouble that are tried together with those in it; each is larger than the last.
_EARLIER = (0, 4, 16, 64, 256, 1024, 4096)
#: Of so many requests every two are tried without.
_PAIRS_OF_MAX = 8


def fewer_requests(search: Search) -> None:
    """Leave away every request that can be, first those that nothing points at."""
    if len(search.case.requests) > 1:
        guess(search)
    keep_few(search, lambda: search.case.requests, lambda rows: search.case.with_requests(rows))


def fewer_pairs(search: Search) -> None:
    """Leave away two requests at once, where few are left: one may only have been there for the other."""
    rows = search.case.requests
    if 2 < len(rows) <= _PAIRS_OF_MAX:
        any(
            search.accepts(
                search.case.with_requests(
                    row for row in rows if row is not first and row is not second
                )
            )
            for first, second in combinations(rows, 2)
        )


def guess(search: Search) -> None:
    """Keep only who is in the trouble, and no more of the others than it takes."""
    involved, rows = search.involved(), search.case.requests
    suspects = set(involved.suspects)
    for first in involved.suspects[:3]:
        if _accepts_only(search, {first}):
            return
    if involved.owners and _accepts_only(search, set(involved.owners)):
        return
    arrived = [row for row in rows if row.arrival_us <= involved.when_us]
    touched = [row for row in arrived if row.request_id in involved.touched]
    for count in _EARLIER:
        for others in (touched, arrived):
            names = suspects | {row.request_id for row in (others[-count:] if count else [])}
            if len(names) < len(rows) and _accepts_only(search, names):
                return
        if count >= len(arrived):
            return


def _accepts_only(search: Search, names: set[str]) -> bool:
    """Try these requests only: where they would go by the number of their arrival, or to one rank.

    Who shared a rank in a long trace shares none when those between them are gone.
    """
    left = search.case.with_requests(_named(search.case.requests, names))
    if search.accepts(left):
        return True
    alone = on_one_rank(left)
    return alone is not None and search.accepts(alone)


def on_one_rank(case: Case) -> Case | None:
    """The case with one DP rank of each side, of as many TP ranks as before; None if that is not to be."""
    engine = case.engine()
    try:
        return case.with_fields(
            prefill_instances=1,
            decode_instances=1,
            prefill_tp=engine.prefill_tp // engine.prefill_dp,
            decode_tp=engine.decode_tp // engine.decode_dp,
            prefill_dp=1,
            decode_dp=1,
        )
    except ProfileError:
        return None


def _named(rows: Sequence[TraceRequest], names: set[str]) -> list[TraceRequest]:
    return [row for row in rows if row.request_id in names]


def simpler_requests(search: Search) -> None:
    """Make what is left of the trace as plain as it can be, all requests at once or one by one."""
    _everywhere(search, _without("priority"))
    _everywhere(search, _without("session_id"))
    _everywhere(search, _without("block_hashes"))
    _without_block_size(search)
    _everywhere(search, _without("cancel_us"))
    _smaller(search, "output_tokens")
    _smaller(search, "input_tokens")
    _plain_hashes(search)


Change = Callable[[TraceRequest], TraceRequest]


def _replaced(case: Case, change: Change, only: int | None = None) -> Case:
    """A case with all requests changed, or one of them."""
    rows = tuple(
        change(row) if only in (None, number) else row for number, row in enumerate(case.requests)
    )
    return dataclasses.replace(case, requests=rows)


def _everywhere(search: Search, change: Change) -> bool:
    """Change all requests, or else as many as can be."""
    if search.accepts(_replaced(search.case, change)):
        return True
    if len(search.case.requests) == 1:
        return False
    changed = False
    for number in range(len(search.case.requests)):
        changed |= search.accepts(_replaced(search.case, change, number))
    return changed


def _without(field: str) -> Change:
    return lambda row: dataclasses.replace(row, **{field: None})  # type: ignore[arg-type]


def _without_block_size(search: Search) -> None:
    if all(row.block_hashes is None for row in search.case.requests):
        search.accepts(dataclasses.replace(search.case, block_size=None))


def _smaller(search: Search, field: str) -> None:
    """Smaller token counts: all alike, then each of its own."""
    unit = search.case.engine().page_size
    descend(
        search,
        lambda case: simpler_counts(max(getattr(row, field) for row in case.requests), unit=unit),
        lambda case, tokens: _replaced(case, lambda row: cut(case, row, field, tokens)),
    )
    for number in range(len(search.case.requests)):
        _smaller_one(search, field, number, unit)


def _smaller_one(search: Search, field: str, number: int, unit: int) -> None:
    descend(
        search,
        lambda case: simpler_counts(getattr(case.requests[number], field), unit=unit),
        lambda case, tokens: _replaced(case, lambda row: cut(case, row, field, tokens), number),
    )


def cut(case: Case, row: TraceRequest, field: str, tokens: int) -> TraceRequest:
    """A request of no more tokens than these, with as many block hashes as it then has blocks."""
    tokens = min(tokens, getattr(row, field))
    hashes = row.block_hashes
    if field == "input_tokens" and hashes is not None and case.block_size is not None:
        hashes = hashes[: block_count(tokens, case.block_size)]
    return dataclasses.replace(row, **{field: tokens, "block_hashes": hashes})  # type: ignore[arg-type]


def _plain_hashes(search: Search) -> None:
    """Number the blocks from 1, in the order in which they first come."""
    case = search.case
    numbers: dict[int, int] = {}
    rows = []
    for row in case.requests:
        if row.block_hashes is not None:
            plain = [numbers.setdefault(int(each), len(numbers) + 1) for each in row.block_hashes]
            row = dataclasses.replace(row, block_hashes=np.array(plain, dtype=np.uint64))
        rows.append(row)
    search.accepts(dataclasses.replace(case, requests=tuple(rows)))


def plain_names(search: Search) -> None:
    """Call the requests r0, r1, ... in the order in which they arrive, in rules as well."""
    case = search.case
    names = {row.request_id: f"r{number}" for number, row in enumerate(case.requests)}

    def renamed(ids: frozenset[str] | None) -> frozenset[str] | None:
        return None if ids is None else frozenset(_translated(ids, names))

    rules = tuple(
        dataclasses.replace(rule, request_ids=renamed(rule.request_ids)) for rule in case.rules
    )
    rows = tuple(
        dataclasses.replace(row, request_id=names[row.request_id]) for row in case.requests
    )
    search.accepts(dataclasses.replace(case, requests=rows, rules=rules))


def _translated(ids: Iterable[str], names: dict[str, str]) -> Iterator[str]:
    return (names[each] for each in ids if each in names)


def earlier_arrivals(search: Search) -> None:
    """All requests at once, or else each as early as it can be; then the aborts."""
    count = len(search.case.requests)
    if not search.accepts(_with_pauses(search.case, [0] * count)):
        for number in range(count):
            _shorter_pause(search, number)
    for number, row in enumerate(search.case.requests):
        if row.cancel_us is not None:
            _earlier_abort(search, number)


def _shorter_pause(search: Search, number: int) -> None:
    def with_pause(case: Case, pause_us: int) -> Case:
        pauses = _pauses(case)
        pauses[number] = pause_us
        return _with_pauses(case, pauses)

    descend(search, lambda case: simpler_times(_pauses(case)[number]), with_pause)


def _pauses(case: Case) -> list[int]:
    times = [0, *(row.arrival_us for row in case.requests)]
    return [after - before for before, after in pairwise(times)]


def _with_pauses(case: Case, pauses: list[int]) -> Case:
    """The same requests after these pauses, each aborted as long after its arrival as before."""
    rows, now_us = [], 0
    for row, pause_us in zip(case.requests, pauses, strict=True):
        now_us += pause_us
        cancel_us = None if row.cancel_us is None else now_us + _patience_us(row)
        rows.append(dataclasses.replace(row, arrival_us=now_us, cancel_us=cancel_us))
    return dataclasses.replace(case, requests=tuple(rows))


def _earlier_abort(search: Search, number: int) -> None:
    def with_patience(case: Case, patience_us: int) -> Case:
        row = case.requests[number]
        rows = list(case.requests)
        rows[number] = dataclasses.replace(row, cancel_us=row.arrival_us + patience_us)
        return dataclasses.replace(case, requests=tuple(rows))

    descend(search, lambda case: simpler_times(_patience_us(case.requests[number])), with_patience)


def _patience_us(row: TraceRequest) -> int:
    """How long after its arrival a request is aborted; 0 when it is not."""
    return 0 if row.cancel_us is None else row.cancel_us - row.arrival_us
