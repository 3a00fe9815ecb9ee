"""Earlier arrivals and aborts.

What gets smaller is the pause before each request, with which all later ones come earlier, and the
patience of each client that goes away.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

from replay.shrink.case import Case
from replay.shrink.search import Search, descend
from replay.shrink.smaller.numbers import simpler_times
from traces.schema import TraceRequest


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
