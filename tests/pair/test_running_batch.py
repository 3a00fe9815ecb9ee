"""The running batch: a leap over n steps is n single steps, page by page."""

import random

import numpy as np
import pytest
from engine_helpers import lone_request, on_both_backends, page_ids
from hypothesis import given
from hypothesis import strategies as st

from replay.pair.running_batch import NEVER, RunningBatch
from replay.pool.pool import KvPool
from replay.pool.storage import content_at
from replay.pool.token_indices import TokenIndexAllocator

TOTAL_PAGES = 400


def scrambled_pool(arrays, page_size, seed, words_per_page=1, sorts_pages=False):
    """A pool whose free list is in no particular order, or half of it staged."""
    pool = KvPool("p", TOTAL_PAGES * page_size, page_size, words_per_page, arrays, sorts_pages)
    pages = pool.acquire(999, TOTAL_PAGES // 2).tolist()
    random.Random(seed).shuffle(pages)
    while pages:
        pool.release(999, page_ids(arrays, pages[:7]))
        pages = pages[7:]
    return pool


def start_batch(pool, shapes):
    """Requests of (tokens held, steps left), each with a row, in one batch."""
    batch = RunningBatch(pool)
    for ordinal, (kv_tokens, steps_left) in enumerate(shapes):
        request = lone_request(ordinal, kv_tokens, steps_left + 1)
        request.kv_tokens, request.steps_left = kv_tokens, steps_left
        request.decode_row = pool.table.open_row()
        count = pool.pages_for(kv_tokens)
        pool.table.write(request.decode_row, 0, pool.acquire(ordinal, count))
        pool.account.live_pages += count
        batch.add(request)
    return batch


def leave_listed(pools, count):
    """Leave so few pages on the list that staged ones are merged while a batch decodes."""
    for pool in pools:
        if pool.allocator.staged_pages:
            pool.acquire(999, max(0, pool.allocator.listed_pages - count))


def state_of(pool, batch):
    rows = {
        request.ordinal: pool.table.read(
            request.decode_row, 0, pool.pages_for(request.kv_tokens)
        ).tolist()
        for request in batch.requests
    }
    return (
        rows,
        [(request.ordinal, request.kv_tokens, request.steps_left) for request in batch.requests],
        pool.allocator.free_list().tolist(),
        pool.ledger.count_by_owner(),
        pool.held_pages,
        pool.account.live_pages,
    )


_shapes = st.lists(st.tuples(st.integers(1, 150), st.integers(1, 120)), min_size=1, max_size=6)


@on_both_backends
@pytest.mark.parametrize("page_size", [1, 16, 64])
@given(shapes=_shapes, seed=st.integers(0, 99), data=st.data())
def test_a_leap_takes_the_pages_of_single_steps_in_their_order(
    arrays, page_size, shapes, seed, data
):
    if page_size == 1:
        shapes = [(1 + tokens % 30, 1 + steps % 30) for tokens, steps in shapes]
    steps = data.draw(st.integers(1, min(steps for _, steps in shapes)))
    pools = [scrambled_pool(arrays, page_size, seed) for _ in range(2)]
    leaping, stepping = (start_batch(pool, shapes) for pool in pools)
    leaping.advance(steps)
    for step in range(1, steps + 1):
        stepping.advance(step)
    assert state_of(pools[0], leaping) == state_of(pools[1], stepping)
    assert pools[0].ledger.violations().total == 0
    assert pools[0].account.live_pages == sum(pools[0].held_pages.values())


@on_both_backends
@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 16])
@given(
    shapes=_shapes,
    cuts=st.lists(st.integers(1, 20), min_size=1, max_size=8),
    listed=st.integers(0, 40),
)
def test_a_leap_may_be_cut_anywhere_and_requests_may_end_in_between(
    arrays, page_size, sorts_pages, shapes, cuts, listed
):
    shapes = [(1 + tokens % 30, 1 + steps % 30) for tokens, steps in shapes]
    pools = [scrambled_pool(arrays, page_size, 0, sorts_pages=sorts_pages) for _ in range(2)]
    leaping, stepping = (start_batch(pool, shapes) for pool in pools)
    leave_listed(pools, listed)

    def finish(pool, batch):
        finished = batch.take_finished()
        for request in finished:
            row = pool.table.read(request.decode_row, 0, pool.pages_for(request.kv_tokens))
            pool.account.live_pages -= len(row)
            pool.release(request.ordinal, row)
        return [request.ordinal for request in finished]

    at = 0
    for cut in cuts:
        cut_at = at + cut
        ended_leaping, ended_stepping = [], []
        while at < cut_at:
            upto = min(cut_at, leaping.next_step_of_interest())
            leaping.advance(upto)
            for step in range(at + 1, upto + 1):
                stepping.advance(step)
                ended_stepping += finish(pools[1], stepping)
            ended_leaping += finish(pools[0], leaping)
            at = upto
        assert ended_leaping == ended_stepping
        assert state_of(pools[0], leaping) == state_of(pools[1], stepping)


@on_both_backends
@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [16, 64])
@given(shapes=_shapes, listed=st.integers(0, 12), data=st.data())
def test_the_batch_takes_what_sglang_s_alloc_decode_hands_out(
    arrays, page_size, sorts_pages, shapes, listed, data
):
    steps = data.draw(st.integers(1, min(steps for _, steps in shapes)))
    pools = [scrambled_pool(arrays, page_size, 0, sorts_pages=sorts_pages) for _ in range(2)]
    batch, _ = (start_batch(pool, shapes) for pool in pools)
    leave_listed(pools, listed)
    rows = [_token_indices(pools[0], request) for request in batch.requests]
    slots = TokenIndexAllocator(pools[1].allocator, arrays)
    for step in range(1, steps + 1):
        batch.advance(step)
        seq_lens = np.array([len(row) + 1 for row in rows])
        last_loc = page_ids(arrays, [row[-1] for row in rows])
        indices = slots.alloc_decode(seq_lens, last_loc).tolist()
        rows = [[*row, index] for row, index in zip(rows, indices, strict=True)]
        assert [_token_indices(pools[0], request) for request in batch.requests] == rows
        assert pools[0].allocator.listed_pages == pools[1].allocator.listed_pages


def _token_indices(pool, request):
    pages = pool.table.read(request.decode_row, 0, pool.pages_for(request.kv_tokens)).tolist()
    size = pool.page_size
    return [pages[at // size] * size + at % size for at in range(request.kv_tokens)]


@on_both_backends
@pytest.mark.parametrize("words_per_page", [1, 4])
def test_decoded_pages_hold_the_request_s_own_words(arrays, words_per_page):
    pool = scrambled_pool(arrays, 16, 1, words_per_page)
    batch = start_batch(pool, [(30, 200), (16, 200), (1, 200)])
    batch.advance(75)
    for request in batch.requests:
        first, end = pool.pages_for(request.input_tokens), pool.pages_for(request.kv_tokens)
        positions = np.arange(first, end, dtype=np.int64)
        identity = np.full(len(positions), request.ordinal, dtype=np.uint64)
        words = arrays.upload(content_at(identity, positions) ^ request.tag)
        pages = pool.table.read(request.decode_row, first, end)
        assert end - first >= 4
        assert int(arrays.count_nonzero(pool.storage.differences(pages, words))) == 0


@on_both_backends
def test_the_next_step_of_interest_is_the_first_end(arrays):
    pool = scrambled_pool(arrays, 64, 0)
    batch = start_batch(pool, [(10, 40), (10, 9), (10, 25)])
    assert batch.next_step_of_interest() == 9
    batch.advance(9)
    assert [request.ordinal for request in batch.take_finished()] == [1]
    assert batch.next_step_of_interest() == 25
    assert len(batch) == 2
    assert RunningBatch(pool).next_step_of_interest() == NEVER


@on_both_backends
@given(shapes=_shapes, spare=st.integers(0, 12))
def test_the_pool_cannot_run_dry_before_the_next_step_of_interest(arrays, shapes, spare):
    pool = KvPool("p", TOTAL_PAGES * 16, 16, 1, arrays)
    batch = start_batch(pool, shapes)
    pool.acquire(999, max(0, pool.available_pages - spare))
    while batch.pick_victim() is None and batch.requests:
        batch.advance(batch.next_step_of_interest())
        for request in batch.take_finished():
            row = pool.table.read(request.decode_row, 0, pool.pages_for(request.kv_tokens))
            pool.release(request.ordinal, row)
    assert pool.available_pages >= 0


@on_both_backends
def test_the_victim_has_decoded_least_and_only_a_dry_pool_needs_one(arrays):
    pool = KvPool("p", 4 * 16, 16, 1, arrays)
    batch = start_batch(pool, [(16, 5), (16, 9), (15, 70)])
    assert pool.available_pages == 1
    for request, input_tokens in zip(batch.requests, (9, 12, 11), strict=True):
        request.input_tokens = input_tokens
    assert batch.pick_victim() is batch.requests[1], "of two that decoded 4, the longer prompt"
    batch.requests[0].input_tokens = 15
    assert batch.pick_victim() is batch.requests[0], "it has decoded one token"
    batch.requests[0].kv_tokens = 15
    assert batch.pick_victim() is None, "one page is needed and one is free"
