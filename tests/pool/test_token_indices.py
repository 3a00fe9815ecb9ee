"""Token indices over pages: what SGLang's interface hands out, worked out token by token here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool_helpers import ids, on_both_backends

from replay.pool.allocator import create_allocator
from replay.pool.pool import KvPool
from replay.pool.token_indices import TokenIndexAllocator

TOTAL_PAGES = 60


def lengths(*values):
    return np.array(values, dtype=np.int64)


def slots_over(arrays, page_size, total_pages=TOTAL_PAGES, sorts_pages=False):
    pages = create_allocator(total_pages, page_size, arrays, sorts_pages)
    return TokenIndexAllocator(pages, arrays)


@on_both_backends
def test_whole_pages_are_spelled_out_token_by_token(arrays):
    slots = slots_over(arrays, 4)
    slots.alloc(4)
    assert slots.alloc(8).tolist() == [8, 9, 10, 11, 12, 13, 14, 15]
    assert slots.available_tokens == (TOTAL_PAGES - 3) * 4
    assert slots.alloc(TOTAL_PAGES * 4) is None


@on_both_backends
def test_extending_fills_the_page_begun_then_takes_new_ones_for_each_request_in_turn(arrays):
    slots = slots_over(arrays, 4)
    first = slots.alloc_extend(lengths(0, 0), lengths(6, 1), ids(arrays, [-1, -1]))
    assert first.tolist() == [4, 5, 6, 7, 8, 9, 12]
    more = slots.alloc_extend(lengths(6, 1), lengths(13, 3), ids(arrays, [9, 12]))
    assert more.tolist() == [10, 11, 16, 17, 18, 19, 20, 13, 14]


@on_both_backends
def test_decoding_takes_a_page_only_for_a_request_at_its_page_s_end(arrays):
    slots = slots_over(arrays, 4)
    slots.alloc(12)
    indices = slots.alloc_decode(lengths(5, 3, 5), ids(arrays, [7, 9, 15]))
    assert indices.tolist() == [16, 10, 20]
    assert slots.pages.available_pages == TOTAL_PAGES - 5


@on_both_backends
def test_a_page_comes_back_once_however_many_of_its_tokens_do(arrays):
    slots = slots_over(arrays, 4)
    slots.alloc(16)
    slots.free(ids(arrays, [9, 8, 13, 9]))
    assert slots.pages.free_list().tolist()[:3] == [2, 3, 5]


@on_both_backends
def test_tokens_of_a_page_size_of_1_come_back_as_often_as_they_are_freed(arrays):
    slots = slots_over(arrays, 1, total_pages=4)
    slots.alloc(4)
    slots.free(ids(arrays, [3, 1, 3]))
    assert slots.pages.free_list().tolist() == [3, 1, 3]


@on_both_backends
@pytest.mark.parametrize("page_size", [1, 4])
def test_a_free_group_holds_everything_back_and_frees_it_as_one(arrays, page_size):
    slots = slots_over(arrays, page_size)
    slots.alloc(16)
    row = ids(arrays, [9, 8])
    slots.free_group_begin()
    slots.free(row)
    row[:] = 0
    slots.free(ids(arrays, [5, 11]))
    assert slots.pages.available_pages == TOTAL_PAGES - 16 // page_size
    slots.free_group_end()
    listed = slots.pages.free_list().tolist()
    assert listed[-4:] == [9, 8, 5, 11] if page_size == 1 else listed[:3] == [1, 2, 5]
    slots.free(ids(arrays, [13]))
    assert slots.pages.available_pages == len(listed) + 1


@on_both_backends
def test_a_batch_that_might_run_short_merges_the_staged_pages_though_it_does_not(arrays):
    slots = slots_over(arrays, 4, total_pages=6, sorts_pages=True)
    slots.alloc(16)
    slots.free(ids(arrays, [4]))
    assert slots.alloc_extend(lengths(0), lengths(4), ids(arrays, [-1])).tolist() == [4, 5, 6, 7]
    assert slots.pages.staged_pages == 0
    slots.free(ids(arrays, [4]))
    held = ids(arrays, [8, 12, 16])
    assert slots.alloc_decode(lengths(2, 2, 2), held).tolist() == [9, 13, 17]
    assert slots.pages.free_list().tolist() == [1, 5, 6]
    assert slots.pages.staged_pages == 0


@on_both_backends
@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 4, 16])
@given(chunks=st.lists(st.integers(1, 50), min_size=1, max_size=8), freed=st.integers(1, 40))
def test_a_request_of_the_pair_grows_by_the_pages_of_alloc_extend(
    arrays, page_size, sorts_pages, chunks, freed
):
    pool = KvPool("p", 40 * page_size, page_size, 1, arrays, sorts_pages)
    slots = slots_over(arrays, page_size, 40, sorts_pages)
    pool.release(7, pool.acquire(7, freed))
    slots.free(slots.alloc(freed * page_size))
    held, last = 0, -1
    for chunk in chunks:
        pages = pool.extend(3, held, held + chunk)
        last_loc = ids(arrays, [last])
        if page_size == 1:
            indices = slots.alloc(chunk)
        else:
            indices = slots.alloc_extend(lengths(held), lengths(held + chunk), last_loc)
        assert (pages is None) == (indices is None)
        assert pool.allocator.free_list().tolist() == slots.pages.free_list().tolist()
        assert pool.allocator.staged_pages == slots.pages.staged_pages
        if indices is None:
            return
        begun = [index // page_size for index in indices.tolist() if index % page_size == 0]
        assert pages.tolist() == begun
        held, last = held + chunk, indices.tolist()[-1]
