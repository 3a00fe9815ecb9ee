r"""The schedulers' books of a pool: the pages they hold, independent of the allocator's free count.

An audit compares the two sides:

    total = available + evictable + protected + live + in_transfer + gap

Every page that a request acquires is in exactly one of these states, and moves along the arrows:

    in_transfer --consumed--> live --finished--> (released)
        |  ^                    |
        |  | completed late     | dropped by the engine without a release
        v  |                    v
      stalled                departed            over_freed (released more often than acquired)
      \__________________ the gap ___________________________________/

Pages only; the audit turns them into tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from replay.recording.kinds import ShareKind


@dataclass(frozen=True, slots=True)
class GapShare:
    """One request's share of a pool's gap: positive pages leak, negative pages are over-freed."""

    ordinal: int
    kind: ShareKind
    pages: int


class PoolAccount:
    """Host counts of one pool; every change is O(1)."""

    __slots__ = (
        "_shares",
        "_stalled",
        "cache_held_pages",
        "changed",
        "gap_pages",
        "live_pages",
        "over_freed_pages",
        "transfer_pages",
    )

    def __init__(self) -> None:
        self.live_pages = 0
        self.transfer_pages = 0
        #: Sum of all shares; an audit computes the same number from the allocator's side.
        self.gap_pages = 0
        #: The part of the gap that the prefix cache counts as protected.
        self.cache_held_pages = 0
        #: Number of surplus releases so far; each lists a page once more than it should be.
        self.over_freed_pages = 0
        #: Shares that changed since the last audit, which clears it; a dict, for its order.
        self.changed: dict[tuple[int, ShareKind], None] = {}
        self._shares: dict[tuple[int, ShareKind], int] = {}
        #: Overdue requests; one with all its pages in the cache has no private pages to stall.
        self._stalled: set[int] = set()

    def stall(self, ordinal: int, pages: int) -> None:
        """A transfer is overdue: its pages leave `in_transfer` and enter the gap."""
        self._stalled.add(ordinal)
        self.transfer_pages -= pages
        self._add(ordinal, ShareKind.STALLED, pages)

    def resume(self, ordinal: int) -> None:
        """An overdue transfer was consumed after all, or is about to be released."""
        self._stalled.remove(ordinal)
        pages = self.share(ordinal, ShareKind.STALLED)
        self.transfer_pages += pages
        self._add(ordinal, ShareKind.STALLED, -pages)

    def is_stalled(self, ordinal: int) -> bool:
        """Whether this request's transfer is overdue."""
        return ordinal in self._stalled

    def has_changed(self, ordinal: int) -> bool:
        """Whether this request's part of the gap has changed since the last audit."""
        return bool(self.changed) and any((ordinal, kind) in self.changed for kind in ShareKind)

    def has_shares(self, ordinal: int) -> bool:
        """Whether this request has a share of the gap."""
        return bool(self._shares) and any((ordinal, kind) in self._shares for kind in ShareKind)

    def hold_in_cache(self, ordinal: int, pages: int) -> None:
        """Change the number of cache pages locked by an overdue transfer; negative for fewer."""
        self.cache_held_pages += pages
        self._add(ordinal, ShareKind.CACHE_HELD, pages)

    def depart(self, ordinal: int, pages: int) -> None:
        """The engine forgot a request without releasing these pages."""
        if pages:
            self._add(ordinal, ShareKind.DEPARTED, pages)

    def over_free(self, ordinal: int, pages: int) -> None:
        """The engine released pages that this request no longer held."""
        self.over_freed_pages += pages
        self._add(ordinal, ShareKind.OVER_FREED, -pages)

    def share(self, ordinal: int, kind: ShareKind) -> int:
        """Pages of one share, 0 if there is none."""
        return self._shares.get((ordinal, kind), 0)

    def shares(self) -> Iterator[GapShare]:
        """The owners of the gap, in the order in which their shares opened."""
        for (ordinal, kind), pages in self._shares.items():
            yield GapShare(ordinal, kind, pages)

    def _add(self, ordinal: int, kind: ShareKind, pages: int) -> None:
        key = (ordinal, kind)
        total = self._shares.get(key, 0) + pages
        if total == 0:
            self._shares.pop(key, None)
        else:
            self._shares[key] = total
        self.gap_pages += pages
        self.changed[key] = None
