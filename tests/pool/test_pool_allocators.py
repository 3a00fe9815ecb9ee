"""Both allocators against a plain list: every page handed out, and the whole free list, each step."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool_helpers import BACKENDS, ListAllocator, ids, on_both_backends

from replay.errors import InvariantError
from replay.pool.allocator import create_allocator

#: More than twice the first capacity of the allocators' arrays, so that they grow and wrap around.
TOTAL_PAGES = 2_500

_sizes = st.one_of(st.integers(0, 40), st.integers(900, 1_400))
_operations = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), _sizes),
        st.tuples(st.just("free"), _sizes),
        st.tuples(st.just("free again"), st.integers(1, 5)),
        st.tuples(st.just("settle"), _sizes),
    ),
    max_size=40,
)

orders = pytest.mark.parametrize("sorts_pages", [False, True], ids=["as-it-came", "sorted"])
page_sizes = pytest.mark.parametrize("page_size", [1, 16, 64])


@on_both_backends
@page_sizes
@orders
@given(operations=_operations, seed=st.integers(0, 1_000))
def test_every_page_and_the_whole_free_list_match_a_plain_list(
    arrays, page_size, sorts_pages, operations, seed
):
    allocator = create_allocator(TOTAL_PAGES, page_size, arrays, sorts_pages)
    model = ListAllocator(TOTAL_PAGES, page_size, sorts_pages)
    held: list[int] = []
    shuffler = random.Random(seed)
    for kind, count in operations:
        if kind == "alloc":
            taken, expected = allocator.alloc(count), model.alloc(count)
            if expected is None:
                assert taken is None
            else:
                assert taken.tolist() == expected
                held += expected
        elif kind == "settle":
            allocator.settle(count)
            model.settle(count)
        else:
            if kind == "free":
                shuffler.shuffle(held)
                pages = list(dict.fromkeys(held[:count]))
                held = held[count:]
            else:
                pages = list(dict.fromkeys((model.staged_pages + model.free_pages)[:count]))
            allocator.free(ids(arrays, pages))
            model.free(pages)
        everything = model.free_pages + model.staged_pages
        assert allocator.available_pages == len(everything)
        assert allocator.listed_pages == len(model.free_pages)
        assert allocator.staged_pages == len(model.staged_pages)
        assert allocator.free_list().tolist() == everything


@on_both_backends
def test_freed_tokens_queue_behind_all_others(arrays):
    allocator = create_allocator(6, 1, arrays)
    taken = allocator.alloc(4)
    allocator.free(ids(arrays, [3, 1]))
    assert taken.tolist() == [1, 2, 3, 4]
    assert allocator.free_list().tolist() == [5, 6, 3, 1]
    assert allocator.alloc(3).tolist() == [5, 6, 3]


@on_both_backends
def test_freed_pages_go_in_front_in_ascending_order(arrays):
    allocator = create_allocator(6, 64, arrays)
    allocator.alloc(5)
    allocator.free(ids(arrays, [4, 2]))
    allocator.free(ids(arrays, [5, 3]))
    assert allocator.free_list().tolist() == [3, 5, 2, 4, 6]


@on_both_backends
@page_sizes
def test_staged_pages_wait_until_the_list_runs_short_and_come_out_sorted(arrays, page_size):
    allocator = create_allocator(6, page_size, arrays, sorts_pages=True)
    allocator.alloc(4)
    allocator.free(ids(arrays, [4, 2]))
    allocator.free(ids(arrays, [3]))
    assert (allocator.listed_pages, allocator.staged_pages) == (2, 3)
    assert allocator.alloc(1).tolist() == [5]
    assert allocator.alloc(2).tolist() == [2, 3], "one is listed and two are needed"
    assert (allocator.listed_pages, allocator.staged_pages) == (2, 0)
    assert allocator.free_list().tolist() == [4, 6]


@on_both_backends
@page_sizes
def test_staged_pages_stay_apart_while_the_list_is_just_long_enough(arrays, page_size):
    allocator = create_allocator(6, page_size, arrays, sorts_pages=True)
    allocator.alloc(4)
    allocator.free(ids(arrays, [1]))
    allocator.settle(2)
    assert allocator.alloc(2).tolist() == [5, 6]
    assert (allocator.listed_pages, allocator.staged_pages) == (0, 1)


@on_both_backends
@page_sizes
def test_asking_for_too_much_merges_what_is_staged_all_the_same(arrays, page_size):
    allocator = create_allocator(6, page_size, arrays, sorts_pages=True)
    allocator.alloc(4)
    allocator.free(ids(arrays, [2]))
    assert allocator.alloc(4) is None
    assert (allocator.listed_pages, allocator.staged_pages) == (3, 0)
    assert allocator.free_list().tolist() == [2, 5, 6]


def test_a_pool_whose_page_ids_do_not_fit_is_refused():
    create_allocator(2**31 - 1, 1, BACKENDS["host"])
    with pytest.raises(InvariantError, match="2147483648 pages"):
        create_allocator(2**31, 1, BACKENDS["host"])


@on_both_backends
@page_sizes
def test_page_0_is_padding_and_the_last_page_is_handed_out(arrays, page_size):
    allocator = create_allocator(10, page_size, arrays)
    assert sorted(allocator.alloc(10).tolist()) == list(range(1, 11))
    assert allocator.alloc(1) is None


@on_both_backends
@page_sizes
def test_asking_for_too_much_takes_nothing(arrays, page_size):
    allocator = create_allocator(8, page_size, arrays)
    allocator.alloc(3)
    before = allocator.free_list().tolist()
    assert allocator.alloc(6) is None
    assert allocator.available_pages == 5
    assert allocator.free_list().tolist() == before
    assert allocator.alloc(5).tolist() == before


@on_both_backends
@page_sizes
@orders
def test_pages_handed_out_stay_as_they_were_when_the_list_moves_on(arrays, page_size, sorts_pages):
    allocator = create_allocator(100, page_size, arrays, sorts_pages)
    first = allocator.alloc(50)
    allocator.free(first)
    again = allocator.alloc(50)
    kept = again.tolist()
    allocator.free(ids(arrays, list(range(50, 0, -1))))
    allocator.alloc(60)
    allocator.free(ids(arrays, list(range(60, 0, -1))))
    assert again.tolist() == kept


@on_both_backends
@page_sizes
def test_a_page_freed_twice_is_handed_out_twice(arrays, page_size):
    allocator = create_allocator(4, page_size, arrays)
    allocator.alloc(4)
    allocator.free(ids(arrays, [2]))
    allocator.free(ids(arrays, [2]))
    assert allocator.available_pages == 2
    assert allocator.alloc(2).tolist() == [2, 2]


@on_both_backends
@page_sizes
@orders
def test_more_pages_can_come_back_than_the_pool_has(arrays, page_size, sorts_pages):
    allocator = create_allocator(TOTAL_PAGES, page_size, arrays, sorts_pages)
    model = ListAllocator(TOTAL_PAGES, page_size, sorts_pages)
    everything = list(range(1, TOTAL_PAGES + 1))
    for _ in range(3):
        allocator.free(ids(arrays, everything))
        model.free(everything)
    assert allocator.available_pages == 4 * TOTAL_PAGES
    assert allocator.alloc(6_000).tolist() == model.alloc(6_000)
    assert allocator.free_list().tolist() == model.free_pages


@on_both_backends
@page_sizes
@orders
def test_freed_pages_are_kept_though_the_caller_reuses_its_array(arrays, page_size, sorts_pages):
    allocator = create_allocator(5, page_size, arrays, sorts_pages)
    row = allocator.alloc(5)
    allocator.free(row[1:4])
    row[:] = 0
    assert allocator.alloc(3).tolist() == [2, 3, 4]


@on_both_backends
@page_sizes
@orders
@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
def test_a_small_pool_goes_round_and_round(arrays, page_size, sorts_pages, at_once):
    allocator = create_allocator(5, page_size, arrays, sorts_pages)
    model = ListAllocator(5, page_size, sorts_pages)
    for _ in range(40):
        taken, expected = allocator.alloc(at_once), model.alloc(at_once)
        assert taken.tolist() == expected
        allocator.free(taken)
        model.free(expected)
        assert allocator.free_list().tolist() == model.free_pages + model.staged_pages
