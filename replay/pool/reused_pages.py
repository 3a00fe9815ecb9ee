"""Waits until pages of one pool have a new owner.

All pages are checked in one operation, regardless of their number. Only entries with a page that
has a new owner are removed and examined individually.

    pages   [ 7 8 9 | 3 4 | 12 13 14 15 ]     of three entries, in order of arrival
    own     [ a a a | b b |  c  c  c  c ]     their owners at that time
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, TypeVar

from replay.pool.arrays import Array
from replay.pool.pool import KvPool
from replay.recording.owner_codes import CACHE, FREE

_Entry = TypeVar("_Entry")


class ReusedPages(Generic[_Entry]):
    """Waiting entries and their pages."""

    def __init__(self, pool: KvPool) -> None:
        self._pool = pool
        self._entries: list[_Entry] = []
        #: Position of each entry's first page, plus the end.
        self._begins = [0]
        self._pages: Array | None = None
        self._own: Array | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: _Entry, pages: Array, owner: int) -> None:
        """Wait until one of these pages, int64 [n], is owned by another request."""
        own = pages * 0 + owner
        join = self._pool.arrays.concatenate
        self._pages = join([pages] if self._pages is None else [self._pages, pages])
        self._own = join([own] if self._own is None else [self._own, own])
        self._entries.append(entry)
        self._begins.append(self._begins[-1] + len(pages))

    def take_changed(self) -> list[_Entry]:
        """Remove and return the entries with a page that has a new owner. Waits for the device."""
        changed: list[_Entry] = []
        while self._entries:
            owners = self._pool.ledger.owners(self._pages)
            strangers = (owners != self._own) & (owners != FREE) & (owners != CACHE)
            if not bool(strangers.any()):
                break
            first = int(self._pool.arrays.first_nonzero(strangers)[0])
            changed.append(self._take(bisect_right(self._begins, first) - 1))
        return changed

    def _take(self, place: int) -> _Entry:
        begin, end = self._begins[place], self._begins[place + 1]
        join = self._pool.arrays.concatenate
        assert self._pages is not None
        assert self._own is not None
        self._pages = join([self._pages[:begin], self._pages[end:]])
        self._own = join([self._own[:begin], self._own[end:]])
        after = [each - (end - begin) for each in self._begins[place + 2 :]]
        self._begins = [*self._begins[: place + 1], *after]
        return self._entries.pop(place)
