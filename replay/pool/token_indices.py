"""SGLang's allocator interface: token indices instead of pages.

A token's index is `page * page_size + offset in the page`. A growing request fills its last page,
then new pages from the head of the free list:

    position   0 ......... prefix ........ page border ........ page border ... seq
    index      (held)      last_loc + 1, + 2, ...    page A, page A + 1, ...    page B, ...

The schedulers work in pages: `KvPool.extend` and the running batch take exactly the pages that
`alloc_extend` and `alloc_decode` take, in the same order, without computing 64 indices for each.
Tests compare them with this class, and `tests/conformance` compares this class with SGLang's.

Source: sglang 0.4.6.post4 `mem_cache/paged_allocator.py`, 0.5.23 `mem_cache/allocator/paged.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from replay.pool.allocator import PageAllocator
from replay.pool.arrays import Array, Arrays

#: Lengths of a batch, on the host, as sglang 0.5 has them beside the device's (`seq_lens_cpu`).
Lengths = npt.NDArray[np.int64]


def pages_in_reach(tokens: int, requests: int, page_size: int) -> int:
    """Return SGLang's bound on the pages needed for `tokens` tokens of `requests` requests.

    `alloc_extend` of sglang 0.5.23 merges staged pages if fewer than this are listed, even if fewer
    pages are needed.
    """
    return tokens // page_size + requests + 1


class TokenIndexAllocator:
    """Token indices (int64 arrays on the allocator's device) over a page allocator."""

    def __init__(self, pages: PageAllocator, arrays: Arrays) -> None:
        self.pages = pages
        self._page_size = pages.page_size
        self._arrays = arrays
        self._group: list[Array] | None = None

    @property
    def available_tokens(self) -> int:
        """Free tokens, staged ones included."""
        return self.pages.available_pages * self._page_size

    def alloc(self, tokens: int) -> Array | None:
        """Indices of whole pages, int64 [tokens rounded down to pages]; None when fewer are free."""
        pages = self.pages.alloc(tokens // self._page_size)
        if pages is None or self._page_size == 1:
            return pages
        offsets = self._arrays.arange(0, self._page_size)
        return (pages[:, None] * self._page_size + offsets).reshape(-1)

    def alloc_extend(
        self, prefix_lens: Lengths, seq_lens: Lengths, last_loc: Array
    ) -> Array | None:
        """Indices of positions prefix .. seq of every request, int64 [sum]; None when short.

        `last_loc` is the index of each request's last token before, int64 [requests] on the
        device, -1 where there is none.
        """
        tokens, requests = int((seq_lens - prefix_lens).sum()), len(seq_lens)
        self.pages.settle(pages_in_reach(tokens, requests, self._page_size))
        return self._grow(prefix_lens, seq_lens, last_loc)

    def alloc_decode(self, seq_lens: Lengths, last_loc: Array) -> Array | None:
        """The index of each request's token number `seq`, int64 [requests]; None when short."""
        self.pages.settle(len(seq_lens))
        return self._grow(seq_lens - 1, seq_lens, last_loc)

    def free(self, indices: Array) -> None:
        """Free tokens; each page with a freed token is freed once. Waits for the device."""
        if self._group is not None:
            self._group.append(self._arrays.copy(indices))
        elif self._page_size == 1:
            self.pages.free(indices)
        elif len(indices):
            self.pages.free(self._arrays.unique(indices // self._page_size))

    def free_group_begin(self) -> None:
        """Collect freed tokens from now on instead of freeing them."""
        self._group = []

    def free_group_end(self) -> None:
        """Free the collected tokens at once."""
        group, self._group = self._group, None
        if group:
            self.free(self._arrays.concatenate(group))

    def _grow(self, prefix_lens: Lengths, seq_lens: Lengths, last_loc: Array) -> Array | None:
        size, upload = self._page_size, self._arrays.upload
        first_new = -(-prefix_lens // size)
        new_pages = -(-seq_lens // size) - first_new
        pages = self.pages.alloc(int(new_pages.sum()))
        if pages is None:
            return None
        counts = seq_lens - prefix_lens
        row = np.repeat(np.arange(len(counts)), counts)
        steps = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        position = prefix_lens[row] + steps
        begun = position // size < first_new[row]
        (old,), (new,) = begun.nonzero(), (~begun).nonzero()
        page = (new_pages.cumsum() - new_pages - first_new)[row] + position // size
        indices = self._arrays.arange(0, len(row))
        last = self._arrays.gather(last_loc, upload(row[old]))
        self._arrays.put(indices, upload(old), last + upload(steps[old] + 1))
        start = self._arrays.gather(pages, upload(page[new])) * size
        self._arrays.put(indices, upload(new), start + upload(position[new] % size))
        return indices
