"""Completion events that a fault holds back until something has happened to their request.

held --its conditions hold, looked at when its rank's accounting changed--> on its way again
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faults.events import CompletionEvent
from faults.rule import Condition
from replay.pair.prefill_rank import PrefillRank
from replay.pair.request import DecodeState, PrefillState, Request
from replay.pool.arrays import Array
from replay.pool.owner_codes import CACHE, FIRST_OWNER, FREE
from replay.pool.pool import KvPool
from replay.pool.reused_pages import ReusedPages


@dataclass(frozen=True, slots=True, eq=False)
class HeldEvent:
    """One delivery that waits."""

    request: Request
    event: CompletionEvent
    until: frozenset[Condition]
    #: The request's pages on the receiver's side when the event was sent; None where that is not
    #: asked, or where it had none any more.
    pages: Array | None
    go: Callable[[], None]


class HeldEvents:
    """Everything that is held back, by the pool of its receiver.

    What can never be let go is not kept: no other transfer waits in a room that comes only once.
    """

    def __init__(self, rooms_come_again: bool) -> None:
        self._by_pool: dict[str, list[HeldEvent]] = {}
        #: Those that wait for their pages before all else: many may, and for long.
        self._by_pages: dict[str, ReusedPages[HeldEvent]] = {}
        self._rooms_come_again = rooms_come_again
        self._healing = False

    def hold(self, held: HeldEvent) -> None:
        """Keep a delivery until its conditions hold, which may be now."""
        pool_name = held.event.pool
        if self._is_due(held):
            held.go()
        elif "pages-reused" in held.until:
            if held.pages is not None and len(held.pages):
                if pool_name not in self._by_pages:
                    self._by_pages[pool_name] = ReusedPages(_pool(held))
                owner = held.request.ordinal + FIRST_OWNER
                self._by_pages[pool_name].add(held, held.pages, owner)
        elif "room-reused" not in held.until or self._rooms_come_again:
            self._by_pool.setdefault(pool_name, []).append(held)

    def look(self, pool: str) -> None:
        """The accounting of a pool has changed: let go what need wait no longer."""
        if pool not in self._by_pool and pool not in self._by_pages:
            return
        waiting = self._by_pool.pop(pool, [])
        if pool in self._by_pages:
            waiting += self._by_pages[pool].take_changed()
        due: list[HeldEvent] = []
        still: list[HeldEvent] = []
        for held in waiting:
            (due if self._is_due(held) else still).append(held)
        if still:
            self._by_pool[pool] = still
        for held in due:
            held.go()

    def begin_healing(self) -> None:
        """The inject phase is over."""
        self._healing = True
        for pool in sorted({*self._by_pool, *self._by_pages}):
            self.look(pool)

    def _is_due(self, held: HeldEvent) -> bool:
        return all(_HOLDS[condition](held, self._healing) for condition in held.until)


def _pool(held: HeldEvent) -> KvPool:
    """The pool of its receiver."""
    rank = held.request.prefill if held.event.direction == "prefill" else held.request.decode
    pool: KvPool = rank.pool
    return pool


def _is_given_up(held: HeldEvent, _: bool) -> bool:
    request = held.request
    if held.event.direction == "prefill":
        return request.prefill_ended
    return request.decode_ended or request.decode_state is DecodeState.DEFERRED


def _is_released(held: HeldEvent, _: bool) -> bool:
    request = held.request
    return request.prefill_ended if held.event.direction == "prefill" else request.decode_ended


def _is_room_reused(held: HeldEvent, _: bool) -> bool:
    request = held.request
    if held.event.direction == "prefill":
        rank: PrefillRank = request.prefill
        other = rank.inflight.in_room(request.room)
    else:
        other = request.decode.transfers.in_room(request.room)
    return other is not None and other is not request


def _are_pages_reused(held: HeldEvent, _: bool) -> bool:
    """Waits for the device; only a plan with such a rule comes here."""
    if held.pages is None:
        return False
    request = held.request
    own = request.ordinal + FIRST_OWNER
    if held.event.direction == "prefill":
        if request.prefill_state is PrefillState.INFLIGHT:
            return False
    elif not request.decode_ended:
        return False
    owners = _pool(held).ledger.owners(held.pages)
    strangers = (owners != own) & (owners != FREE) & (owners != CACHE)
    return bool(strangers.any())


def _is_healing(_: HeldEvent, healing: bool) -> bool:
    return healing


_HOLDS: dict[Condition, Callable[[HeldEvent, bool], bool]] = {
    "given-up": _is_given_up,
    "released": _is_released,
    "room-reused": _is_room_reused,
    "pages-reused": _are_pages_reused,
    "heal": _is_healing,
}
