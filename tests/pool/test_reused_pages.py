"""Waiting for pages to change hands: told of the right entries, at a cost that does not grow with them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from replay.pool.arrays import HostArrays
from replay.pool.device_arrays import DeviceArrays
from replay.pool.reused_pages import ReusedPages
from replay.recording.owner_codes import CACHE, FREE

PAGES = 12


class Pool:
    """Owners of pages, and how often somebody has asked for them."""

    def __init__(self, arrays):
        self.arrays = arrays
        self.owner = [FREE] * PAGES
        self.asked = 0
        self.ledger = self

    def ids(self, pages):
        return self.arrays.upload(np.array(pages, dtype=np.int64))

    def owners(self, pages):
        self.asked += 1
        return self.arrays.gather(self.ids(self.owner), pages)


@pytest.mark.slow
@pytest.mark.parametrize("arrays", [HostArrays(), DeviceArrays(torch.device("cpu"))])
@given(st.data())
def test_those_come_out_whose_pages_belong_to_another(arrays, data):
    pool = Pool(arrays)
    watched, waiting = ReusedPages(pool), {}
    pages = st.lists(st.integers(0, PAGES - 1), min_size=1, max_size=4)
    for number in range(data.draw(st.integers(1, 8))):
        owner = 10 + number
        waiting[number] = owner, data.draw(pages)
        watched.add(number, pool.ids(waiting[number][1]), owner)
        pool.owner = [
            data.draw(st.sampled_from((FREE, CACHE, *range(10, 14)))) for _ in range(PAGES)
        ]
        expected = [
            name
            for name, (own, held) in waiting.items()
            if {pool.owner[page] for page in held} - {own, FREE, CACHE}
        ]
        assert watched.take_changed() == expected
        waiting = {name: each for name, each in waiting.items() if name not in expected}
        assert len(watched) == len(waiting)


def test_one_look_asks_once_however_many_wait():
    pool = Pool(HostArrays())
    watched = ReusedPages(pool)
    for number in range(500):
        watched.add(number, pool.ids([number % PAGES]), 10 + number)
    assert watched.take_changed() == []
    assert pool.asked == 1
