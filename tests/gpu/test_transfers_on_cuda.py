"""Transfers on the side stream: right however the streams are delayed, and the host never waits."""

import gc

import numpy as np
import pytest
import torch
from gpu_helpers import CUDA, needs_cuda, receive, wrong_pages

from replay.pool.pool import KvPool
from replay.pool.storage import KvStorage, write_tag
from replay.profiles.catalogue import find_profile
from replay.profiles.overrides import override
from replay.run.device import arrays_on

pytestmark = needs_cuda

#: 105 MB in each pool, of which half is copied at a time.
PAGES, WORDS, MOVED = 200_000, 64, 100_000
#: A fifth of a second, far longer than it takes to queue what is delayed.
DELAY_CYCLES = 400_000_000
#: The first turns allocate memory and load kernels, for which the driver may wait.
TURNS, WARM_UP_TURNS = 6, 3

STORY_TOTAL, STORY_AVAILABLE, PAGE_SIZE = 13_858_304, 13_824_256, 64


@pytest.fixture
def arrays():
    return arrays_on(CUDA)


@pytest.mark.parametrize("delayed", ["main", "side", "neither"])
def test_a_copy_is_right_whichever_stream_is_late(arrays, delayed):
    draw = np.random.default_rng(5)
    prefill, decode = (KvStorage(PAGES, WORDS, arrays) for _ in range(2))
    every_page = arrays.arange(1, PAGES + 1)
    decode.write(every_page, every_page)
    expected = np.arange(PAGES + 1)
    for turn in range(TURNS):
        torch.cuda.synchronize()
        pages, others = (draw.permutation(PAGES)[:MOVED] + 1 for _ in range(2))
        tag = write_tag(turn, 0)
        to, source = arrays.upload(pages), arrays.upload(others)
        torch.cuda.synchronize()
        if delayed == "main":
            torch.cuda._sleep(DELAY_CYCLES)
        elif delayed == "side":
            with torch.cuda.stream(arrays._side):
                torch.cuda._sleep(DELAY_CYCLES)
        prefill.write(every_page, every_page * (turn + 2))
        receive(decode, to, prefill, source, tag)
        # Freed and handed out again at once: the copy must not see what is written there now.
        del to, source
        spoiled = [torch.zeros(MOVED, dtype=torch.int64, device=CUDA) for _ in range(4)]
        # The source is overwritten straight after, the target in part.
        prefill.write(every_page, every_page * -1)
        decode.write(arrays.arange(1, 1_001), arrays.arange(1, 1_001))
        queued = torch.cuda.Event()
        queued.record()
        if delayed != "neither" and turn >= WARM_UP_TURNS:
            assert not queued.query(), "the host has waited"
        expected[pages] = others * (turn + 2) ^ tag
        expected[1:1_001] = np.arange(1, 1_001)
        wrong = wrong_pages(decode, every_page, arrays.upload(expected[1:]))
        assert int(wrong) == 0
        assert len(spoiled) == 4


def test_a_read_waits_for_the_copy_on_the_device_only(arrays):
    prefill, decode = (KvStorage(PAGES, WORDS, arrays) for _ in range(2))
    every_page = arrays.arange(1, PAGES + 1)
    prefill.write(every_page, every_page)
    for is_warm in (False, True):
        decode.write(every_page, every_page * 0)
        torch.cuda.synchronize()
        if is_warm:
            with torch.cuda.stream(arrays._side):
                torch.cuda._sleep(DELAY_CYCLES)
        receive(decode, every_page, prefill, every_page, 0)
        elsewhere = torch.zeros(1_000, device=CUDA) + 1
        beside = torch.cuda.Event()
        beside.record()
        beside.synchronize()
        if is_warm:
            assert not arrays._side.query(), "what reads no such page has waited for the copy"
        wrong = wrong_pages(decode, every_page, every_page)
        if is_warm:
            assert not arrays._side.query(), "the host has waited"
        assert int(wrong) == 0
        assert arrays._side.query()
        assert len(elsewhere) == 1_000


def test_the_story_s_pools_are_resident_at_the_widest_kv_that_fits(arrays):
    """13,858,304 tokens on both sides, every page filled, moved and read back."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    free_bytes, _ = torch.cuda.mem_get_info()
    width = int(0.85 * free_bytes) // (2 * STORY_TOTAL)
    fields = {"kv_bytes_per_token": str(width), "page_size": str(PAGE_SIZE)}
    words = override(find_profile("sglang-0.4.6.post4"), fields).kv_words_per_page
    prefill, decode = (KvPool(name, STORY_TOTAL, PAGE_SIZE, words, arrays) for name in "pd")
    resident = torch.cuda.memory_allocated() - before
    assert resident >= 2 * STORY_TOTAL * width
    tag, wrong = write_tag(1, 0), []
    while count := min(1_024, prefill.available_pages):
        source, target = prefill.acquire(1, count), decode.acquire(1, count)
        prefill.storage.write(source, source * 7)
        receive(decode.storage, target, prefill.storage, source, tag)
        wrong.append(wrong_pages(decode.storage, target, (source * 7) ^ tag))
    assert len(wrong) == -(-STORY_TOTAL // PAGE_SIZE // 1_024)
    assert sum(arrays.to_list(wrong)) == 0
    assert decode.available_pages == 0
    held = decode.arrays.arange(1, decode.total_pages + 1)
    decode.release(1, held[: STORY_AVAILABLE // PAGE_SIZE])
    assert decode.available_pages * PAGE_SIZE == STORY_AVAILABLE
    lost = (STORY_TOTAL - STORY_AVAILABLE) // PAGE_SIZE
    assert decode.ledger.count_by_owner() == {3: lost}
    print(f"\n{width} bytes a token, {resident / 1e9:.1f} GB resident")
