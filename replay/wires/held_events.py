"""Completion events that a fault holds back until something has happened to their request.

held --its conditions hold, looked at when its rank's accounting changed--> on its way again
"""

from __future__ import annotations

from collections.abc import Callable

from faults.events import Direction
from faults.rule import Condition
from replay.pair.request import DecodeState, EventQueue, PrefillState, Request
from replay.pool.pool import KvPool
from replay.pool.reused_pages import ReusedPages
from replay.recording.owner_codes import CACHE, FIRST_OWNER, FREE
from replay.wires.in_flight import EventCopy


class HeldEvents:
    """Everything that is held back, by the pool of its receiver.

    Nothing is kept whose conditions can never hold: no other transfer waits in a room that comes
    only once.
    """

    def __init__(self, rooms_come_again: bool) -> None:
        self._by_pool: dict[str, list[EventCopy]] = {}
        #: Those that wait for their pages before all else: many may, and for long.
        self._by_pages: dict[str, ReusedPages[EventCopy]] = {}
        self._rooms_come_again = rooms_come_again
        self._healing = False

    def hold(self, copy: EventCopy) -> bool:
        """Keep a delivery until its conditions hold; False when they do already."""
        sent, until = copy.of, copy.delivery.until
        pool_name = sent.event.pool
        if self._is_due(copy):
            return False
        if "pages-reused" in until:
            if copy.pages is not None and len(copy.pages):
                if pool_name not in self._by_pages:
                    self._by_pages[pool_name] = ReusedPages(_pool(copy))
                owner = sent.request.ordinal + FIRST_OWNER
                self._by_pages[pool_name].add(copy, copy.pages, owner)
        elif "room-reused" not in until or self._rooms_come_again:
            self._by_pool.setdefault(pool_name, []).append(copy)
        return True

    def take_due(self, pool: str) -> list[EventCopy]:
        """The accounting of a pool has changed: take out what need wait no longer."""
        if pool not in self._by_pool and pool not in self._by_pages:
            return []
        waiting = self._by_pool.pop(pool, [])
        if pool in self._by_pages:
            waiting += self._by_pages[pool].take_changed()
        due: list[EventCopy] = []
        still: list[EventCopy] = []
        for copy in waiting:
            (due if self._is_due(copy) else still).append(copy)
        if still:
            self._by_pool[pool] = still
        return due

    def begin_healing(self) -> list[EventCopy]:
        """The inject phase is over: take out what waited for that."""
        self._healing = True
        pools = sorted({*self._by_pool, *self._by_pages})
        return [copy for pool in pools for copy in self.take_due(pool)]

    def _is_due(self, copy: EventCopy) -> bool:
        return all(_HOLDS[condition](copy, self._healing) for condition in copy.delivery.until)


def _receiver(copy: EventCopy) -> tuple[Request, Direction]:
    return copy.of.request, copy.of.event.direction


def _pool(copy: EventCopy) -> KvPool:
    """The pool of its receiver."""
    request, side = _receiver(copy)
    return request.rank_on(side).pool


def _is_given_up(copy: EventCopy, _: bool) -> bool:
    request, side = _receiver(copy)
    if side == "prefill":
        return request.prefill_ended
    return request.decode_ended or request.decode_state is DecodeState.DEFERRED


def _is_released(copy: EventCopy, _: bool) -> bool:
    request, side = _receiver(copy)
    return request.prefill_ended if side == "prefill" else request.decode_ended


def _is_room_reused(copy: EventCopy, _: bool) -> bool:
    request, side = _receiver(copy)
    queue: EventQueue = request.prefill.inflight
    if side == "decode":
        queue = request.decode.transfers
    other = queue.in_room(request.room)
    return other is not None and other is not request


def _are_pages_reused(copy: EventCopy, _: bool) -> bool:
    """Waits for the device; only a plan with such a rule comes here."""
    if copy.pages is None:
        return False
    request, side = _receiver(copy)
    own = request.ordinal + FIRST_OWNER
    if side == "prefill":
        if request.prefill_state is PrefillState.INFLIGHT:
            return False
    elif not request.decode_ended:
        return False
    owners = _pool(copy).ledger.owners(copy.pages)
    strangers = (owners != own) & (owners != FREE) & (owners != CACHE)
    return bool(strangers.any())


def _is_healing(_: EventCopy, healing: bool) -> bool:
    return healing


_HOLDS: dict[Condition, Callable[[EventCopy, bool], bool]] = {
    "given-up": _is_given_up,
    "released": _is_released,
    "room-reused": _is_room_reused,
    "pages-reused": _are_pages_reused,
    "heal": _is_healing,
}
