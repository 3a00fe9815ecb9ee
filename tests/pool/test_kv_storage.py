"""Page contents: what was written is read back, and nothing else is."""

import numpy as np
import pytest
from pool_helpers import ids, on_both_backends

from replay.pool.storage import (
    NO_WRITER,
    ContentWriter,
    KvStorage,
    content_at,
    ordinal_of_writer,
    write_tag,
    writer_code,
)

words_per_page = pytest.mark.parametrize("words_per_page", [1, 4])


def words(arrays, *values):
    return arrays.upload(np.array(values, dtype=np.int64))


def mismatches(storage, arrays, pages, *values):
    differences = storage.differences(ids(arrays, pages), words(arrays, *values))
    return int(arrays.count_nonzero(differences))


@on_both_backends
@words_per_page
def test_written_pages_read_back(arrays, words_per_page):
    storage = KvStorage(8, words_per_page, arrays)
    storage.write(ids(arrays, [3, 8, 1]), words(arrays, 30, 80, -10))
    assert mismatches(storage, arrays, [1, 3, 8], -10, 30, 80) == 0
    assert mismatches(storage, arrays, [1, 3, 8], -10, 31, 80) == 1
    assert mismatches(storage, arrays, [8, 3], 30, 80) == 2


@on_both_backends
@words_per_page
def test_received_pages_carry_content_and_tag(arrays, words_per_page):
    prefill, decode = (KvStorage(8, words_per_page, arrays) for _ in range(2))
    prefill.write(ids(arrays, [1, 2, 3]), words(arrays, 11, 22, 33))
    tag = write_tag(ordinal=5, epoch=0)
    decode.receive(ids(arrays, [8, 6, 7]), prefill, ids(arrays, [1, 2, 3]), tag, writer_code(5, 0))
    assert mismatches(decode, arrays, [8, 6, 7], 11 ^ tag, 22 ^ tag, 33 ^ tag) == 0
    assert mismatches(prefill, arrays, [1, 2, 3], 11, 22, 33) == 0
    assert mismatches(decode, arrays, [8, 6, 7], 11, 22, 33) == 3


@on_both_backends
@words_per_page
@pytest.mark.parametrize(
    ("late_ordinal", "late_epoch"), [(4, 0), (3, 1)], ids=["another request", "an older attempt"]
)
def test_a_late_write_is_seen_though_the_content_is_the_same(
    arrays, words_per_page, late_ordinal, late_epoch
):
    prefill, decode = (KvStorage(4, words_per_page, arrays) for _ in range(2))
    page = ids(arrays, [2])
    prefill.write(page, words(arrays, 77))
    mine = write_tag(3, 0)
    decode.receive(page, prefill, page, mine, writer_code(3, 0))
    assert mismatches(decode, arrays, [2], 77 ^ mine) == 0
    late = writer_code(late_ordinal, late_epoch)
    decode.receive(page, prefill, page, write_tag(late_ordinal, late_epoch), late)
    assert mismatches(decode, arrays, [2], 77 ^ mine) == 1
    assert int(decode.writers(page)[0]) == late
    assert ordinal_of_writer(late) == late_ordinal
    decode.write(page, words(arrays, 1), NO_WRITER)
    assert int(decode.writers(page)[0]) == NO_WRITER


@on_both_backends
def test_each_share_of_a_transfer_brings_its_own_words(arrays):
    prefill, decode = (KvStorage(4, 4, arrays) for _ in range(2))
    pages = ids(arrays, [1, 3])
    prefill.write(pages, words(arrays, 5, 6))
    decode.write(pages, words(arrays, 0, 0))
    decode.receive(pages, prefill, pages, 0, writer_code(1, 0), share=(0, 2))
    assert mismatches(decode, arrays, [1, 3], 5, 6) == 2
    decode.receive(pages, prefill, pages, 0, writer_code(1, 0), share=(1, 2))
    assert mismatches(decode, arrays, [1, 3], 5, 6) == 0


def test_tags_differ_between_requests_and_attempts():
    tags = {write_tag(ordinal, epoch) for ordinal in range(500) for epoch in range(20)}
    assert len(tags) == 500 * 20
    assert all(-(1 << 63) <= tag < 1 << 63 for tag in tags)


@pytest.mark.parametrize(("page_size", "block_size"), [(1, 16), (16, 16), (64, 16), (16, 64)])
def test_requests_with_one_prefix_share_its_content_and_nothing_more(page_size, block_size):
    writer = ContentWriter(page_size, block_size)
    shared = 256 // block_size
    one = np.arange(100, 100 + 2 * shared, dtype=np.uint64)
    other = np.concatenate((one[:shared], one[shared:] + np.uint64(1_000)))
    pages = 512 // page_size
    first = writer.request_content(one, pages, pages + 3, ordinal=1)
    second = writer.request_content(other, pages, pages + 3, ordinal=2)
    assert len(first) == pages + 3
    same = first == second
    assert same[: pages // 2].all()
    assert not same[pages // 2 :].any()
    assert len(set(first.tolist())) == len(first), "no two pages of a request look alike"


def test_content_without_block_hashes_is_the_request_s_own():
    writer = ContentWriter(16, 16)
    first, second = (writer.request_content(None, 4, 3_000, ordinal) for ordinal in (1, 2))
    assert not (first == second).any()
    positions = np.arange(3_000, dtype=np.int64)
    identity = np.full(3_000, 1, dtype=np.uint64)
    assert (first == content_at(identity, positions)).all()
