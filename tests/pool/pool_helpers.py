"""What the pool tests share: both array backends, and a free list that anybody can check by eye."""

import numpy as np
import pytest
import torch

from replay.pool.arrays import Arrays, HostArrays
from replay.pool.device_arrays import DeviceArrays

BACKENDS: dict[str, Arrays] = {
    "host": HostArrays(),
    "device": DeviceArrays(torch.device("cpu")),
}

on_both_backends = pytest.mark.parametrize("arrays", BACKENDS.values(), ids=BACKENDS.keys())


def ids(arrays: Arrays, pages: list[int]):
    """Page ids as an array of the backend."""
    return arrays.upload(np.array(pages, dtype=np.int64))


class ListAllocator:
    """The free list as a plain list: tokens are queued, pages are stacked in front, ascending.

    Or both are staged, and sorted into the list when it runs short.
    """

    def __init__(self, total_pages: int, page_size: int, sorts_pages: bool = False) -> None:
        self.free_pages = list(range(1, total_pages + 1))
        self.staged_pages: list[int] = []
        self.page_size = page_size
        self.sorts_pages = sorts_pages

    def settle(self, count: int) -> None:
        if count > len(self.free_pages) and self.staged_pages:
            self.free_pages = sorted(self.free_pages + self.staged_pages)
            self.staged_pages = []

    def alloc(self, count: int) -> list[int] | None:
        self.settle(count)
        if count > len(self.free_pages):
            return None
        taken, self.free_pages = self.free_pages[:count], self.free_pages[count:]
        return taken

    def free(self, pages: list[int]) -> None:
        if self.sorts_pages:
            self.staged_pages += pages if self.page_size == 1 else sorted(pages)
        elif self.page_size == 1:
            self.free_pages = self.free_pages + pages
        else:
            self.free_pages = sorted(pages) + self.free_pages
