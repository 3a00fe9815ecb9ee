"""Allocating and freeing 2,048 tokens costs the same in a small pool and in the story's.

Timings depend on the machine and on what else it does: `make cost` runs them, `make test` does not.
"""

import os
import resource
import statistics
import time
from pathlib import Path

import pytest
from pool_helpers import BACKENDS

from replay.pool.allocator import create_allocator

SMALL_TOKENS, LARGE_TOKENS = 100_096, 13_858_304
TOUCHED_TOKENS = 2_048
ROUNDS = 400
RATIO_MAX = 1.5
#: A busy machine may spoil a try, never make a slow allocator fast in a good one.
TRIES_MAX = 5

pytestmark = pytest.mark.skipif(
    os.environ.get("KVREPLAY_COST") != "1", reason="timings are run by `make cost`"
)

_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
needs_huge_pages = pytest.mark.skipif(
    not _HUGE_PAGES.is_file() or "[never]" in _HUGE_PAGES.read_text(),
    reason="first writes to small pages of memory dominate; see docs/benchmarks.md",
)


@needs_huge_pages
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 64])
def test_the_pool_s_size_costs_nothing(backend, page_size, sorts_pages):
    ratios = []
    for _ in range(TRIES_MAX):
        ratios.append(large_over_small(BACKENDS[backend], page_size, sorts_pages))
        if ratios[-1] <= RATIO_MAX:
            return
    pytest.fail(f"the large pool costs so many times the small one: {ratios}")


def large_over_small(arrays, page_size, sorts_pages):
    pools = [
        create_allocator(tokens // page_size, page_size, arrays, sorts_pages)
        for tokens in (SMALL_TOKENS, LARGE_TOKENS)
    ]
    pages, costs_ns = TOUCHED_TOKENS // page_size, ([], [])
    for _ in range(ROUNDS):
        for pool, costs in zip(pools, costs_ns, strict=True):
            started = time.perf_counter_ns()
            pool.free(pool.alloc(pages))
            costs.append(time.perf_counter_ns() - started)
    small, large = (statistics.median(each) for each in costs_ns)
    return large / small


@needs_huge_pages
def test_keeping_what_a_large_pool_takes_back_hardly_ever_faults():
    """What the cost was: 16 KiB of fresh memory a round is 4 page faults, as int32 it is 2."""
    pool = create_allocator(LARGE_TOKENS, 1, BACKENDS["host"])
    pool.free(pool.alloc(TOUCHED_TOKENS))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        pool.free(pool.alloc(TOUCHED_TOKENS))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / ROUNDS < 1
