"""Pools on a CUDA device against the same pools on the host, under random operations."""

import numpy as np
import pytest
import torch
from gpu_helpers import CUDA, needs_cuda, wrong_pages

from replay.pool.arrays import HostArrays
from replay.pool.pool import KvPool
from replay.pool.token_indices import TokenIndexAllocator
from replay.recording.owner_codes import CACHE, FIRST_OWNER
from replay.run.device import arrays_on

pytestmark = needs_cuda

STEPS, TOTAL_PAGES = 300, 500


def as_list(array):
    return None if array is None else array.tolist()


def same(results):
    """The one result that all backends gave."""
    first, *others = results
    assert all(each == first for each in others)
    return first


@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 64])
@pytest.mark.parametrize("seed", range(3))
def test_pools_are_equal_whatever_is_done_to_them(page_size, sorts_pages, seed):
    draw = np.random.default_rng(seed)
    pools = [
        KvPool("p", TOTAL_PAGES * page_size, page_size, 3, arrays, sorts_pages)
        for arrays in (HostArrays(), arrays_on(CUDA))
    ]
    held = {ordinal: [] for ordinal in range(8)}
    cached = []
    for step in range(STEPS):
        ordinal, count = int(draw.integers(0, 8)), int(draw.integers(1, 40))
        kind, mine = draw.integers(0, 4), held[ordinal]
        if kind == 0:
            taken = same([as_list(pool.acquire(ordinal, count)) for pool in pools])
            for pool in pools if taken else ():
                on_pool = pool.arrays.upload(np.array(taken))
                pool.storage.write(on_pool, pool.arrays.upload(np.array(taken) * step))
                wrong = wrong_pages(
                    pool.storage, on_pool, pool.arrays.upload(np.array(taken) * step)
                )
                assert int(wrong) == 0
            mine += taken or []
        elif kind == 1 and mine:
            draw.shuffle(mine)
            use(pools, mine[:count], lambda pool, pages, o=ordinal: pool.release(o, pages))
            del mine[:count]
        elif kind == 2 and mine:
            use(pools, mine[:count], lambda pool, pages, o=ordinal: pool.give_to_cache(o, pages))
            cached += mine[:count]
            del mine[:count]
        elif cached:
            use(pools, cached[:count], lambda pool, pages: pool.release_from_cache(pages))
            del cached[:count]
        same([pool.available_pages for pool in pools])
    same([as_list(pool.allocator.free_list()) for pool in pools])
    by_owner = same([pool.ledger.count_by_owner() for pool in pools])
    assert by_owner.get(CACHE, 0) == len(cached)
    assert {o: by_owner.get(o + FIRST_OWNER, 0) for o in held} == {
        o: len(p) for o, p in held.items()
    }
    assert same([pool.ledger.violations().total for pool in pools]) == 0


def use(pools, pages, act):
    for pool in pools:
        act(pool, pool.arrays.upload(np.array(pages)))


@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 16])
def test_token_indices_are_equal(page_size, sorts_pages):
    draw = np.random.default_rng(1)
    both = [
        KvPool("p", 4_096 * page_size, page_size, 1, arrays, sorts_pages)
        for arrays in (HostArrays(), arrays_on(CUDA))
    ]
    tokens = [TokenIndexAllocator(pool.allocator, pool.arrays) for pool in both]
    freed = []
    for _ in range(40):
        lengths = draw.integers(1, 60, 5)
        grown = lengths + draw.integers(1, 40, 5)
        nothing = np.zeros(5, dtype=np.int64)
        begun = same([as_list(grow(each, nothing, lengths, nothing - 1)) for each in tokens])
        last = np.array(begun)[lengths.cumsum() - 1]
        more = same([as_list(grow(each, lengths, grown, last)) for each in tokens])
        stepped = grown + 1
        last = np.array(more)[(grown - lengths).cumsum() - 1]
        step = same([as_list(each.alloc_decode(stepped, upload(each, last))) for each in tokens])
        freed.append(begun + more + step)
        if len(freed) > 3:
            gone = freed.pop(int(draw.integers(0, 3)))
            for each in tokens:
                each.free(upload(each, np.array(gone)))
        same([each.available_tokens for each in tokens])
    same([as_list(pool.allocator.free_list()) for pool in both])


def upload(tokens, values):
    return tokens._arrays.upload(values)


def grow(tokens, before, after, last):
    return tokens.alloc_extend(before, after, upload(tokens, last))


@pytest.mark.parametrize("count", [0, 1, 5, 5_000, 300_000])
def test_array_operations_are_equal(count):
    draw = np.random.default_rng(count)
    host, cuda = HostArrays(), arrays_on(CUDA)
    values = draw.permutation(count).astype(np.int64)
    words = draw.integers(-(1 << 62), 1 << 62, (count + 1, 3))
    for name in ("backwards", "sorted_descending", "sorted_ascending", "unique", "copy"):
        same([as_list(getattr(each, name)(each.upload(values))) for each in (host, cuda)])
    same([int(each.count_nonzero(each.upload(values))) for each in (host, cuda)])
    for tag in (0, -1, (1 << 63) - 1, -(1 << 63)):
        results = []
        for each in (host, cuda):
            target = each.upload(np.zeros_like(words))
            each.transfer(target, each.upload(values), each.upload(words), each.upload(values), tag)
            each.join_transfers()
            results.append(torch.as_tensor(target).cpu())
        assert torch.equal(*results)
