"""Copies between pools: bounded, and ordered with everything else though they run on their own."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from late_arrays import LateArrays
from pool_helpers import BACKENDS, ids

import replay.pool.device_arrays
from replay.pool.cuda_arrays import CudaArrays
from replay.pool.storage import NO_WRITER, KvStorage

CPU = torch.device("cpu")
PAGES = 40


def everything(storage):
    """All words of all pages, one list."""
    return torch.as_tensor(storage._words)[1:].reshape(-1).tolist()


def use_pools(arrays, words_per_page, seed):
    """Writes, transfers and reads in random order, each page touched often; every result.

    Words are 0 or 1, so that about half of what is read is as expected.
    """
    draw = np.random.default_rng(seed)
    prefill, decode = (KvStorage(PAGES, words_per_page, arrays) for _ in range(2))
    for storage in (prefill, decode):
        storage.write(ids(arrays, range(1, PAGES + 1)), ids(arrays, [0] * PAGES))
    mismatches = []
    for _ in range(200):
        count = int(draw.integers(0, PAGES))
        pages, others = (draw.permutation(np.arange(1, PAGES + 1))[:count] for _ in range(2))
        kind = draw.integers(0, 6)
        if kind < 3:
            tag = int(draw.integers(0, 2))
            decode.receive(arrays.upload(pages), prefill, arrays.upload(others), tag, NO_WRITER)
        elif kind < 5:
            storage = (prefill, decode)[kind - 3]
            storage.write(arrays.upload(pages), arrays.upload(draw.integers(0, 2, count)))
        else:
            words = arrays.upload(np.zeros(count, dtype=np.int64))
            mismatches.append(
                int(arrays.count_nonzero(decode.differences(arrays.upload(pages), words)))
            )
    arrays.join_transfers()
    return mismatches, everything(prefill), everything(decode)


@pytest.mark.parametrize("words_per_page", [1, 5])
@pytest.mark.parametrize("seed", range(5))
def test_transfers_at_once_and_as_late_as_allowed_give_the_same(words_per_page, seed, monkeypatch):
    late = LateArrays(CPU)
    at_once = use_pools(BACKENDS["host"], words_per_page, seed)
    assert use_pools(late, words_per_page, seed) == at_once
    assert late.most_at_once > 1
    monkeypatch.setattr(replay.pool.device_arrays, "_TRANSFER_WORDS", 16)
    assert use_pools(BACKENDS["device"], words_per_page, seed) == at_once


def test_a_transfer_takes_bounded_memory_whatever_the_request(monkeypatch):
    monkeypatch.setattr(replay.pool.device_arrays, "_TRANSFER_WORDS", 1_000)
    gathered = []
    select = torch.Tensor.index_select

    def watched(tensor, dimension, index):
        gathered.append(select(tensor, dimension, index))
        return gathered[-1]

    monkeypatch.setattr(torch.Tensor, "index_select", watched)
    source, target = (
        torch.arange(64_000).reshape(500, 128),
        torch.zeros(500, 128, dtype=torch.int64),
    )
    pages = torch.arange(499, 99, -1)
    BACKENDS["device"].transfer(target, pages, source, pages - 50, tag=3)
    assert max(rows.numel() for rows in gathered) <= 1_000
    assert len(gathered) == 58, "seven rows at a time"
    assert (target[100:] == source[50:450] ^ 3).all()
    assert not target[:100].any()


@pytest.mark.parametrize("arrays", [*BACKENDS.values(), LateArrays(CPU)])
@pytest.mark.parametrize("words", [2, 5])
def test_several_senders_bring_every_nth_word_each(arrays, words):
    source, target = (arrays.upload(np.arange(50 * words).reshape(50, words)) for _ in range(2))
    target = arrays.copy(target)
    before, tag = np.array(target.tolist()), 1 << 40
    pages, others = ids(arrays, range(30)), ids(arrays, range(20, 50))
    for sender in (0, 2):
        arrays.transfer(target[:, sender::3], pages, source[:, sender::3], others, tag)
    arrays.join_transfers()
    expected = before.copy()
    for sender in (0, 2):
        expected[:30, sender::3] = before[20:, sender::3] ^ tag
    assert target.tolist() == expected.tolist()


class Streams:
    """Stands in for torch.cuda's streams and notes what is asked of which, in order."""

    def __init__(self, monkeypatch):
        self.log = []
        self.current = main = self.Stream(self, "main")
        streams = self

        @contextmanager
        def entered(stream):
            streams.current = stream
            yield
            streams.current = main

        def record_stream(tensor, stream):
            streams.log.append(("keep", tensor.data_ptr(), stream.name))

        def noted(name):
            original = getattr(torch.Tensor, name)

            def operation(*arguments):
                streams.log.append((name, streams.current.name))
                return original(*arguments)

            return operation

        for name in ("index_select", "index_copy_", "bitwise_xor_"):
            monkeypatch.setattr(torch.Tensor, name, noted(name))
        monkeypatch.setattr(torch.Tensor, "record_stream", record_stream)
        monkeypatch.setattr(torch.cuda, "Stream", lambda _: self.Stream(self, "side"))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: streams.current)
        monkeypatch.setattr(torch.cuda, "stream", entered)

    class Stream:
        def __init__(self, streams, name):
            self.streams, self.name = streams, name

        def wait_stream(self, other):
            self.streams.log.append((self.name, "waits for", other.name))

    def take(self):
        log, self.log[:] = list(self.log), []
        return log


def test_on_cuda_a_transfer_runs_on_its_own_stream_between_two_waits(monkeypatch):
    streams = Streams(monkeypatch)
    arrays = CudaArrays(CPU)
    source, target = torch.arange(10), torch.zeros(10, dtype=torch.int64)
    pages, source_pages = torch.tensor([1, 2]), torch.tensor([8, 9])
    arrays.join_transfers()
    assert streams.take() == []
    arrays.transfer(target, pages, source, source_pages, tag=1)
    copy = [(name, "side") for name in ("index_select", "bitwise_xor_", "index_copy_")]
    kept = [("keep", each.data_ptr(), "side") for each in (target, pages, source, source_pages)]
    assert streams.take() == [("side", "waits for", "main"), *copy, *kept]
    assert target.tolist() == [0, 9, 8, 0, 0, 0, 0, 0, 0, 0]
    arrays.join_transfers()
    arrays.join_transfers()
    assert streams.take() == [("main", "waits for", "side")]


def test_uploads_to_cuda_go_through_pinned_memory(monkeypatch):
    Streams(monkeypatch)
    pinned = []

    def pin(tensor):
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    words = np.arange(12).reshape(3, 4).T[1]
    assert CudaArrays(CPU).upload(words).tolist() == [1, 5, 9]
    assert len(pinned) == 1
