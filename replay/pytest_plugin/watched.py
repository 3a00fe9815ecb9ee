"""Watches what a user's allocator gives and takes, to say in which call it first went wrong.

The verdict does not need it: ledger, books and contents see the same. They see it where it hurts,
which may be much later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from replay.pool.foreign_allocator import AllocatorFactory, UserAllocator, name_of


@dataclass(slots=True)
class Misconduct:
    """What an allocator did that no correct one does, over all its pools."""

    name: str
    #: Of each kind: in how many calls, and the first of them in words.
    _calls: dict[str, int] = field(default_factory=dict)
    _first: dict[str, str] = field(default_factory=dict)

    def note(self, kind: str, what: str) -> None:
        """One more call that went wrong."""
        self._calls[kind] = self._calls.get(kind, 0) + 1
        self._first.setdefault(kind, what)

    def sentences(self) -> tuple[str, ...]:
        """One for each kind, in the order in which they first came up."""
        return tuple(
            f"{self.name}: {kind} in {count} call{'' if count == 1 else 's'}; "
            f"first: {self._first[kind]}"
            for kind, count in self._calls.items()
        )


class WatchedAllocator:
    """Passes everything on, and compares."""

    def __init__(self, pool: int, user: UserAllocator, misconduct: Misconduct) -> None:
        self._user = user
        self._misconduct = misconduct
        self._pool = pool
        self._calls = 0
        self._out: set[int] = set()

    @property
    def available_pages(self) -> int:
        """What the allocator says."""
        return self._user.available_pages

    def alloc(self, count: int) -> Sequence[int] | None:
        """Pass on; note pages that were out already, and a count that fell by another number."""
        before = self._user.available_pages
        given = self._user.alloc(count)
        pages = _ids(given)
        fell = before - self._user.available_pages
        call = self._call(f"alloc({count})")
        if fell != len(pages):
            self._misconduct.note(
                "available_pages fell by another number than was given",
                f"{call} gave {len(pages)} pages, available_pages fell by {fell}",
            )
        again = []
        for page in pages:
            if page in self._out:
                again.append(page)
            self._out.add(page)
        if again:
            self._misconduct.note(
                "pages were given out that were out already", f"{call} gave page {again[0]}"
            )
        return given

    def free(self, pages: list[int]) -> None:
        """Pass on; note a count that rose by another number."""
        before = self._user.available_pages
        self._user.free(pages)
        rose = self._user.available_pages - before
        call = self._call(f"free of {len(pages)} pages")
        # What an engine gives back twice, an allocator may take or leave.
        known = self._out.intersection(pages)
        if rose not in (len(pages), len(known)):
            self._misconduct.note(
                "available_pages rose by another number than was freed",
                f"{call}, available_pages rose by {rose}",
            )
        self._out -= known

    def _call(self, what: str) -> str:
        self._calls += 1
        return f"{what}, call {self._calls} of pool {self._pool}"


def watched(make: AllocatorFactory, misconduct: Misconduct) -> AllocatorFactory:
    """The same allocators, watched; pools are numbered from 1, prefill first."""
    pools = iter(range(1, 10**9))

    def make_watched(total_pages: int, page_size: int) -> WatchedAllocator:
        return WatchedAllocator(next(pools), make(total_pages, page_size), misconduct)

    make_watched.__name__ = name_of(make)
    return make_watched


def _ids(given: Sequence[int] | None) -> list[int]:
    """Page ids, of whatever kind; none of what is no list of them, which is an error elsewhere."""
    try:
        return [int(page) for page in given] if given is not None else []
    except (TypeError, ValueError):
        return []
