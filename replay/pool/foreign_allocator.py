"""A user's allocator in place of a pool's free list.

    KvPool --counts, arrays of pages--> ForeignAllocator --ints--> the user's allocator
       |                                     |
       +--who owns each page--> PageLedger <-+ a page that comes twice in one call

The ledger, the books and the contents remain kvreplay's, so the errors of a wrong allocator show
there like those of an engine. Only results that cannot be interpreted raise an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from replay.errors import AllocatorError
from replay.pool.arrays import Array, Arrays
from replay.pool.ledger import PageLedger


class UserAllocator(Protocol):
    """What a user's allocator of the pages 1 .. total_pages must do; page 0 is padding."""

    @property
    def available_pages(self) -> int:
        """Number of free pages."""

    def alloc(self, count: int) -> Sequence[int] | None:
        """Return `count` >= 1 pages (ints, or an array or tensor of them), None if fewer are free."""

    def free(self, pages: list[int]) -> None:
        """Free at least one page, in the order in which the engine releases them."""


#: Creates the allocator of one pool from its number of pages and the page size in tokens.
AllocatorFactory: TypeAlias = Callable[[int, int], UserAllocator]


def name_of(make: AllocatorFactory) -> str:
    """Return the name of an allocator in messages: that of its class or function."""
    return str(getattr(make, "__name__", type(make).__name__))


class ForeignAllocator:
    """Has the interface of `replay.pool.allocator.PageAllocator`. Waits for the device."""

    #: Nothing is ever staged.
    staged_pages = 0

    def __init__(
        self,
        pool: str,
        total_pages: int,
        page_size: int,
        make: AllocatorFactory,
        arrays: Arrays,
        ledger: PageLedger,
    ) -> None:
        self.page_size = page_size
        self.total_pages = total_pages
        self._pool = pool
        self._arrays = arrays
        self._ledger = ledger
        self._name = name_of(make)
        self._user = make(total_pages, page_size)
        #: Surplus of releases over allocations of each page, int32 [total_pages + 1].
        self._listed = np.ones(total_pages + 1, np.int32)
        self._listed[0] = 0

    @property
    def available_pages(self) -> int:
        """Number of free pages according to the user's allocator."""
        return int(self._user.available_pages)

    @property
    def listed_pages(self) -> int:
        """The same: nothing is staged."""
        return self.available_pages

    def settle(self, count: int) -> None:
        """Nothing is ever staged."""

    def alloc(self, count: int) -> Array | None:
        """Take `count` pages, int64 [count], or None when fewer are free.

        Raises:
            AllocatorError: what comes back is not so many pages of this pool.
        """
        if count == 0:
            return self._arrays.arange(0, 0)
        given = self._user.alloc(count)
        if given is None:
            if (available := self.available_pages) >= count:
                raise self._error(count, f"returned None although available_pages is {available}")
            return None
        pages = self._checked(count, given)
        repeated = count - len(np.unique(pages))
        if repeated:
            self._ledger.note_repeated(repeated)
        np.subtract.at(self._listed, pages, 1)
        return self._arrays.upload(pages)

    def free(self, pages: Array) -> None:
        """Free pages."""
        if len(pages):
            given_back = pages.tolist()
            np.add.at(self._listed, given_back, 1)
            self._user.free(given_back)

    def free_list(self) -> Array:
        """Pages that were freed, or never allocated, each as often as it should be free."""
        ids = np.arange(self.total_pages + 1, dtype=np.int64)
        return self._arrays.upload(np.repeat(ids, np.maximum(self._listed, 0)))

    def _checked(self, count: int, given: object) -> npt.NDArray[np.int64]:
        try:
            values = torch.as_tensor(given).cpu().numpy()
        except (TypeError, ValueError, RuntimeError):
            raise self._error(count, f"returned {type(given).__name__}, not page ids") from None
        if not np.issubdtype(values.dtype, np.integer) or values.ndim != 1:
            raise self._error(count, f"returned {given!r:.60}, not one list of page ids")
        if len(values) != count:
            raise self._error(count, f"returned {len(values)} pages")
        if int(values.min()) < 1 or int(values.max()) > self.total_pages:
            wrong = next(each for each in values.tolist() if not 1 <= each <= self.total_pages)
            raise self._error(count, f"returned page {wrong}; pages are 1 to {self.total_pages}")
        return values.astype(np.int64)

    def _error(self, count: int, what: str) -> AllocatorError:
        return AllocatorError(f"{self._pool}: {self._name}.alloc({count}) {what}")
