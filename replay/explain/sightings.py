"""What a watched replay sees of one request or one page, and the notebook it is written into.

Page operations are noted as arrays on the pool's device and fetched many at a time, so that watching
does not make a replay wait for its device at every operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from replay.pool.owner_codes import CACHE, FIRST_OWNER

if TYPE_CHECKING:
    from replay.pair.request import Request
    from replay.pool.arrays import Array, Arrays

#: Page operations kept on the device before they are fetched: the bound on the queue.
_PENDING_MAX = 256

PageAction = Literal[
    "take", "release", "cache", "evict", "stray-write", "stray-read", "sent", "landed", "read"
]


class StateSighting(NamedTuple):
    """A request came into a state, ended, lost its client, or waited too long, on one rank."""

    sequence: int
    time_us: int
    pool: str
    request: str
    state: str


class PageSighting(NamedTuple):
    """Pages were touched; all tuples are as long as `pages`.

    `holders` owned the pages before, and `by` are the owners on whose behalf it happened, as the
    ledger knows them: FREE, CACHE, or a request's number + FIRST_OWNER.
    """

    sequence: int
    time_us: int
    pool: str
    action: PageAction
    pages: tuple[int, ...]
    holders: tuple[int, ...]
    by: tuple[int, ...]
    #: Of a page that decode reads: whether it held other bytes than the reader's own.
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class Sighted:
    """Everything that was seen, in order, with the names of all requests in it by number."""

    states: tuple[StateSighting, ...]
    pages: tuple[PageSighting, ...]
    names: dict[int, str]
    #: The owner code of the watched request; None where a page was watched.
    code: int | None = None

    def name(self, code: int) -> str:
        """Whom an owner code stands for."""
        if code < FIRST_OWNER:
            return "the prefix cache" if code == CACHE else "nobody"
        return self.names.get(code - FIRST_OWNER, f"request number {code - FIRST_OWNER}")


@dataclass(slots=True)
class Watch:
    """The notebook of one replay: what is watched, and what has been seen of it.

    Either a request, by its id, or a page, by its pool and number.
    """

    request_id: str | None = None
    pool: str | None = None
    page: int = 0
    #: The owner code of the watched request, once it has arrived.
    code: int | None = None
    states: list[StateSighting] = field(default_factory=list)
    pages: list[PageSighting] = field(default_factory=list)
    _sequence: int = 0
    _pending: list[tuple[PageSighting, Array, Array, Array, Array | None]] = field(
        default_factory=list
    )

    def note_state(self, request: Request, state: str, pool: str, time_us: int) -> None:
        """The watched request is seen in another state."""
        self.states.append(StateSighting(self._next(), time_us, pool, request.request_id, state))

    def note_pages(
        self,
        arrays: Arrays,
        time_us: int,
        pool: str,
        action: PageAction,
        pages: Array,
        holders: Array,
        by: Array | int,
        wrong: Array | None = None,
    ) -> None:
        """Pages (int64 [n]) are touched: keep those that the watch is about.

        `holders` is int32 [n], `by` as long or one owner code, `wrong` not zero where a page that is
        read holds other bytes than it should.
        """
        mask = self._mask(action, pool, pages, holders, by)
        if mask is None:
            return
        seen = pages * mask
        if arrays.is_known_zero(arrays.count_nonzero(seen)):
            return
        owners = holders * 0 + by
        sighting = PageSighting(self._next(), time_us, pool, action, (), (), ())
        self._pending.append((sighting, seen, holders, owners, wrong))
        if len(self._pending) >= _PENDING_MAX:
            self.flush()

    def flush(self) -> None:
        """Fetch what is still on the device."""
        for sighting, seen, holders, owners, wrong in self._pending:
            numbers = _to_list(seen)
            at = [place for place, number in enumerate(numbers) if number]
            if not at:
                continue
            held_by, by = _to_list(holders), _to_list(owners)
            differing = [0] * len(numbers) if wrong is None else _to_list(wrong)
            self.pages.append(
                sighting._replace(
                    pages=tuple(numbers[place] for place in at),
                    holders=tuple(held_by[place] for place in at),
                    by=tuple(by[place] for place in at),
                    is_wrong=any(differing[place] for place in at),
                )
            )
        self._pending.clear()

    def _mask(
        self, action: PageAction, pool: str, pages: Array, holders: Array, by: Array | int
    ) -> Array | None:
        """Which of the pages are of interest; None when none can be."""
        if self.request_id is None:
            return pages == self.page if pool == self.pool else None
        if self.code is None:
            return None
        if isinstance(by, int):
            if by != self.code:
                return holders == self.code
            if action == "stray-write":
                return holders != self.code
            if action == "stray-read":
                return (holders != self.code) & (holders != CACHE)
            return pages != 0
        return (by == self.code) | (holders == self.code)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


#: What the session's clock says, in virtual microseconds.
Now = Callable[[], int]


def _to_list(values: Array) -> list[int]:
    """An array on the host. Waits for the device."""
    # Whoever only names what is to be watched does without it.
    import torch

    numbers: list[int] = torch.as_tensor(values).cpu().tolist()
    return numbers
