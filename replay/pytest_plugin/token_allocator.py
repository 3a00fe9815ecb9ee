"""An allocator that speaks SGLang's interface, in token indices, as one of pages.

    page p  <->  token indices  p * page_size ... p * page_size + page_size - 1

Only whole pages are asked for and given back, as SGLang's paged allocator does for `alloc`; its
`alloc_extend` and `alloc_decode` take the same pages (see `replay.pool.token_indices`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from replay.errors import AllocatorError
from replay.pool.foreign_allocator import AllocatorFactory


class TokenAllocator(Protocol):
    """What SGLang's `BaseTokenToKVPoolAllocator` offers, as far as it is needed."""

    def alloc(self, need_size: int) -> torch.Tensor | None:
        """Indices of so many tokens, int64; None when fewer are free."""

    def free(self, free_index: torch.Tensor) -> None:
        """Take indices back."""

    def available_size(self) -> int:
        """Free tokens."""


#: Makes the allocator of one pool from its tokens and the tokens of a page.
TokenAllocatorFactory = Callable[[int, int], TokenAllocator]


class PagesOfTokens:
    """A token allocator as a `UserAllocator`."""

    def __init__(self, tokens: TokenAllocator, page_size: int) -> None:
        self._tokens = tokens
        self._page_size = page_size

    @property
    def available_pages(self) -> int:
        """Free tokens as whole pages."""
        return self._tokens.available_size() // self._page_size

    def alloc(self, count: int) -> list[int] | None:
        """Take whole pages.

        Raises:
            AllocatorError: the indices that come back are not those of whole pages.
        """
        size = self._page_size
        indices = self._tokens.alloc(count * size)
        if indices is None:
            return None
        if len(indices) != count * size:
            raise AllocatorError(f"alloc({count * size}) gave {len(indices)} token indices")
        rows = torch.as_tensor(indices).cpu().reshape(count, size)
        pages = rows[:, 0] // size
        if not torch.equal(rows, pages[:, None] * size + torch.arange(size)):
            raise AllocatorError(
                f"alloc({count * size}) gave token indices that are not whole pages of {size}"
            )
        given: list[int] = pages.tolist()
        return given

    def free(self, pages: list[int]) -> None:
        """Give whole pages back."""
        starts = torch.tensor(pages, dtype=torch.int64) * self._page_size
        self._tokens.free((starts[:, None] + torch.arange(self._page_size)).reshape(-1))


def pages_of(make: TokenAllocatorFactory) -> AllocatorFactory:
    """What makes page allocators out of what makes token allocators."""

    def make_pages(total_pages: int, page_size: int) -> PagesOfTokens:
        return PagesOfTokens(make(total_pages * page_size, page_size), page_size)

    make_pages.__name__ = getattr(make, "__name__", type(make).__name__)
    return make_pages
