"""What a pool costs must depend on the pages touched, not on the pool's size."""

import sys
import tracemalloc
from pathlib import Path

import pytest
from pool_helpers import on_both_backends

from replay.pool.allocator import create_allocator
from replay.pool.pool import KvPool

HUGE_PAGES = 100_000_000
#: 100 million page ids of 8 bytes would be 800 MB.
ALLOWED_BYTES = 32 << 20

needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads resident memory from /proc"
)


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS in /proc/self/status")


@on_both_backends
@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 64])
def test_an_allocator_over_a_huge_pool_keeps_nothing_but_the_pages_touched(
    arrays, page_size, sorts_pages
):
    tracemalloc.start()
    try:
        allocator = create_allocator(HUGE_PAGES, page_size, arrays, sorts_pages)
        for _ in range(20):
            allocator.free(allocator.alloc(2_048))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ALLOWED_BYTES
    assert allocator.available_pages == HUGE_PAGES


@needs_proc
@on_both_backends
@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 64])
def test_an_allocator_over_a_huge_pool_touches_no_memory_for_it(arrays, page_size, sorts_pages):
    before = resident_bytes()
    allocator = create_allocator(HUGE_PAGES, page_size, arrays, sorts_pages)
    allocator.free(allocator.alloc(2_048))
    assert resident_bytes() - before < ALLOWED_BYTES


@needs_proc
@on_both_backends
def test_a_huge_pool_with_ledger_and_contents_touches_no_memory_either(arrays):
    before = resident_bytes()
    pool = KvPool("huge", HUGE_PAGES, 1, 1, arrays)
    pool.release(7, pool.acquire(7, 2_048))
    assert resident_bytes() - before < ALLOWED_BYTES
