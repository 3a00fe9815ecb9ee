"""Which page of a pool is whose at one audit: copied when it matters, worked out when all is over.

    take_snapshot        while the replay runs: the ledger's owners copied on their device, and what
                         the host knows of these owners; nothing here waits for the device
    Snapshot.to_columns  at the end: every page in exactly one state, as rows of pages.parquet, each
                         a stretch of pages in the same state of the same request

The states are the columns of an audit, page by page:

    available -> free                  live        -> running
    evictable -> evictable             in_transfer -> transfer
    protected -> protected             gap         -> stalled, cache-held, departed

After pages were released too often, a page can be listed as free and be held, be listed twice, or be
in the rows of two requests. Only then are the free list and the rows looked at as well, and such
pages are over-freed, or double-owned where nobody lists them. `listed` and `holders` say how often
each page is counted on either side, so that the sums are those of the audit even then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from replay.pair.cache import RadixCache
from replay.pair.decode_rank import DecodeRank
from replay.pair.deployment import AnyRank
from replay.pair.prefill_rank import PrefillRank
from replay.pair.request import Request
from replay.pool.account import GapShare
from replay.pool.arrays import Array
from replay.recording.kinds import PageState, ShareKind
from replay.recording.owner_codes import CACHE, FIRST_OWNER, FREE

#: What looking at one request or cache node costs, in pages that could be copied meanwhile.
_PAGES_PER_NOTE = 128

#: Stands for the prefix cache where requests are known by their numbers.
_THE_CACHE = CACHE - FIRST_OWNER

_Ids = npt.NDArray[np.int64]


_STATES = tuple(PageState)
_WORDS = tuple(state.value for state in _STATES)
_CODE = {state: code for code, state in enumerate(_STATES)}
_OF_SHARE = {
    ShareKind.STALLED: _CODE[PageState.STALLED],
    ShareKind.DEPARTED: _CODE[PageState.DEPARTED],
}


@dataclass(slots=True)
class Snapshot:
    """A pool at one audit; arrays are on its device, and nobody else writes them."""

    pool: str
    audit: int
    gap_pages: int
    #: int32 [pages + 1], as the ledger has them; page 0 is padding.
    owner: Array
    #: Requests in a transfer that is not overdue.
    in_transfer: tuple[int, ...]
    shares: tuple[GapShare, ...]
    #: Ids of the requests that may have to be named.
    names: dict[int, str]
    #: Pages of the prefix cache that are locked, and of these the ones that an overdue transfer
    #: locks, with the request that is blamed.
    locked: list[Array]
    cache_held: list[tuple[int, Array]]
    #: Every page as often as it is free, and every request's row; only where they may overlap.
    free_list: Array | None = None
    rows: list[tuple[int, Array]] | None = None

    @property
    def cost_pages(self) -> int:
        """What it took, in pages copied."""
        notes = len(self.in_transfer) + len(self.shares) + len(self.names) + len(self.locked)
        copied = len(self.owner)
        if self.free_list is not None and self.rows is not None:
            copied += 2 * len(self.free_list) + sum(2 * len(pages) for _, pages in self.rows)
        return copied + notes * _PAGES_PER_NOTE

    def to_columns(self) -> list[Sequence[Any]]:
        """The map as the columns of pages.parquet. O(pool), and waits for the device."""
        owner = _on_host(self.owner)[1:]
        state, named = self._states(owner)
        if self.free_list is None or self.rows is None:
            starts = _starts((state, named))
            listed = (owner[starts] == FREE).astype(np.int32)
            holders, other = 1 - listed, np.zeros(len(starts), np.int32)
        else:
            claims = self._claims(owner, self.free_list, self.rows)
            other = _mark_overlaps(owner, state, named, *claims)
            starts = _starts((state, named, *claims[:2], other))
            listed, holders, other = (column[starts] for column in (*claims[:2], other))
        return [
            [self.pool] * len(starts),
            np.full(len(starts), self.audit),
            starts + 1,
            np.diff(starts, append=len(owner)),
            [_WORDS[code] for code in state[starts].tolist()],
            [self._name(code) for code in named[starts].tolist()],
            [self._name(code) for code in other.tolist()],
            listed,
            holders,
        ]

    def _states(
        self, owner: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
        """The state of each page, and whose it is where it is in the gap (0 elsewhere)."""
        codes = max(int(owner.max(initial=0)) + 1, FIRST_OWNER)
        states = np.full(codes, _CODE[PageState.RUNNING], np.int8)
        names = np.zeros(codes, np.int32)
        states[FREE], states[CACHE] = _CODE[PageState.FREE], _CODE[PageState.EVICTABLE]
        moving = np.array(self.in_transfer, np.int64) + FIRST_OWNER
        states[moving[moving < codes]] = _CODE[PageState.TRANSFER]
        for share in self.shares:
            code = share.ordinal + FIRST_OWNER
            if share.kind in _OF_SHARE and code < codes:
                states[code], names[code] = _OF_SHARE[share.kind], code
        state, named = states[owner], names[owner]
        for pages in self.locked:
            state[_cached(owner, pages)] = _CODE[PageState.PROTECTED]
        for ordinal, pages in self.cache_held:
            at = _cached(owner, pages)
            state[at], named[at] = _CODE[PageState.CACHE_HELD], ordinal + FIRST_OWNER
        return state, named

    def _claims(
        self, owner: npt.NDArray[np.int32], free_list: Array, rows: list[tuple[int, Array]]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """How often each page is free, how many hold it, and who holds it beside its owner."""
        size = len(owner) + 1
        listed = np.bincount(_on_host(free_list), minlength=size)[1:].astype(np.int32)
        own, others = np.zeros(size, np.int32), np.zeros(size, np.int32)
        other = np.zeros(size, np.int32)
        for ordinal, pages in rows:
            code, ids = ordinal + FIRST_OWNER, _on_host(pages)
            is_own = owner[ids - 1] == code
            np.add.at(own, ids[is_own], 1)
            np.add.at(others, ids[~is_own], 1)
            other[ids[~is_own]] = code
        # Pages that are in no row, such as those kept while they are still read, are the ledger's.
        own = np.maximum(own[1:], owner != FREE)
        return listed, own + others[1:], other[1:]

    def _name(self, code: int) -> str | None:
        return self.names.get(code - FIRST_OWNER)


def take_snapshot(
    rank: AnyRank,
    audit: int,
    gap_pages: int,
    requests: Mapping[int, Request],
    buffer: Array | None = None,
) -> Snapshot:
    """Copy who owns each page of a rank's pool. O(pool), without waiting for the device.

    `buffer` is the `owner` of a snapshot of this pool that is not needed any more.
    """
    pool = rank.pool
    shares = tuple(pool.account.shares())
    named = {share.ordinal for share in shares}
    locked, cache_held = _look_at_cache(rank)
    snapshot = Snapshot(
        pool=rank.name,
        audit=audit,
        gap_pages=gap_pages,
        owner=pool.ledger.copy_owners(buffer),
        in_transfer=_in_transfer(rank),
        shares=shares,
        names={},
        locked=locked,
        cache_held=cache_held,
    )
    if pool.may_share_pages:
        named.update(pool.held_pages)
        snapshot.free_list = pool.allocator.free_list()
        snapshot.rows = [
            (ordinal, pool.arrays.copy(row))
            for ordinal in pool.held_pages
            if (row := row_of(rank, requests[ordinal])) is not None
        ]
        if isinstance(rank, PrefillRank) and isinstance(rank.cache, RadixCache):
            snapshot.rows += [(_THE_CACHE, node.pages) for node in rank.cache.nodes()]
    snapshot.names = {ordinal: requests[ordinal].request_id for ordinal in named}
    return snapshot


def row_of(rank: AnyRank, request: Request) -> Array | None:
    """The pages in the row of a request that holds some, a view; None where it has no row."""
    pool = rank.pool
    if isinstance(rank, DecodeRank):
        row, start, end = request.decode_row, 0, pool.pages_for(request.kv_tokens)
    else:
        row, start, end = request.prefill_row, request.cached_pages, request.prefill_pages
    return None if row < 0 else pool.table.read(row, start, end)


def _in_transfer(rank: AnyRank) -> tuple[int, ...]:
    if isinstance(rank, DecodeRank):
        return (*rank.transfers.open, *rank.transfers.deferred)
    return tuple(rank.inflight.open)


def _look_at_cache(
    rank: AnyRank,
) -> tuple[list[Array], list[tuple[int, Array]]]:
    """Pages of nodes that are locked, and of those that an overdue transfer locks."""
    cache = rank.cache if isinstance(rank, PrefillRank) else None
    locked: list[Array] = []
    held: list[tuple[int, Array]] = []
    if isinstance(cache, RadixCache):
        for node in cache.nodes(locked_only=True):
            if node.locks > 0:
                locked.append(node.pages)
            if node.stalled_by:
                held.append((node.stalled_by[0], node.pages))
    return locked, held


def _on_host(array: Array) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = torch.as_tensor(array).cpu().numpy()
    return values


def _cached(owner: npt.NDArray[np.int32], pages: Array) -> _Ids:
    """Where those of these pages are that the ledger, too, says are the cache's."""
    at: _Ids = _on_host(pages) - 1
    cached: _Ids = at[owner[at] == CACHE]
    return cached


def _mark_overlaps(
    owner: npt.NDArray[np.int32],
    state: npt.NDArray[np.int8],
    named: npt.NDArray[np.int32],
    listed: npt.NDArray[np.int32],
    holders: npt.NDArray[np.int32],
    other: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """Put pages that are counted more than once into `state` and `named`; who else holds each."""
    overlapping = listed + holders > 1
    state[overlapping & (listed > 0)] = _CODE[PageState.OVER_FREED]
    state[overlapping & (listed == 0)] = _CODE[PageState.DOUBLE_OWNED]
    held, free = overlapping & (owner >= FIRST_OWNER), overlapping & (owner == FREE)
    named[held], named[free] = owner[held], other[free]
    return np.where(free, 0, other)


def _starts(columns: Sequence[npt.NDArray[Any]]) -> _Ids:
    """Where a stretch begins in which no column changes."""
    changes = np.zeros(max(len(columns[0]) - 1, 0), np.bool_)
    for column in columns:
        changes |= column[1:] != column[:-1]
    starts: _Ids = np.append(0, np.flatnonzero(changes) + 1)
    return starts
