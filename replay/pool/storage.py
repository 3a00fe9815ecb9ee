"""The KV bytes, which transfers copy and decode reads back.

A page is a row of int64 words, all with the same value:

    prefill pool    content                     identity and position of the tokens
    decode pool     content XOR writer's tag    the same, as written by one attempt of one request

The content is the identity of the prompt block and the position in it, which is the same for every
request that shares the prefix. The writer of a transfer adds the tag. A page with another request's
bytes, the wrong part of the right prompt, or an older attempt's copy is therefore detected even if
every counter balances.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from replay.pool.arrays import Array, Arrays

#: No transfer wrote this page: it was never written, or written by its own rank during decode.
NO_WRITER = 0

_EPOCH_BITS = 8
_POSITION_MIXER = np.uint64(0x9E3779B97F4A7C15)
_TAG_MIXER = 0xC2B2AE3D27D4EB4F
_WORD_MASK = (1 << 64) - 1


def write_tag(ordinal: int, epoch: int) -> int:
    """The tag of one request's attempt, a signed 64-bit word; epochs wrap after 256 attempts."""
    word = writer_code(ordinal, epoch) * _TAG_MIXER & _WORD_MASK
    return word - (1 << 64) if word >> 63 else word


def writer_code(ordinal: int, epoch: int) -> int:
    """One request's attempt as a positive number; epochs wrap after 256 attempts."""
    return ((ordinal + 1) << _EPOCH_BITS) | (epoch & ((1 << _EPOCH_BITS) - 1))


def ordinal_of_writer(code: int) -> int:
    """Return the request of a writer code, -1 for `NO_WRITER`."""
    return (code >> _EPOCH_BITS) - 1


def content_at(
    identity: npt.NDArray[np.uint64], positions: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the content words of pages with these identities and positions, int64 [n]."""
    return (identity ^ (positions.view(np.uint64) * _POSITION_MIXER)).view(np.int64)


class ContentWriter:
    """Computes content words of prompts for one page size and one block size."""

    def __init__(self, page_size: int, block_size: int) -> None:
        self._page_size = page_size
        self._block_size = block_size
        self._grow(1024)

    def request_content(
        self,
        block_hashes: npt.NDArray[np.uint64] | None,
        prompt_pages: int,
        total_pages: int,
        ordinal: int,
    ) -> npt.NDArray[np.int64]:
        """Return the content word of every page that a request will have, int64 [total_pages].

        A prompt page that ends inside a block of known identity carries that identity, the same for
        all requests that share the prefix. Generated pages, and prompts without hashes, carry the
        request's own number: nothing is shared.
        """
        if total_pages > len(self._mixed_positions):
            self._grow(2 * total_pages)
        words = self._mixed_positions[:total_pages] ^ np.uint64(ordinal)
        if block_hashes is not None and len(block_hashes) > 0:
            block = self._block_of_page[:prompt_pages]
            identity = block_hashes.take(block, mode="clip")
            np.bitwise_xor(identity, self._mixed_positions[:prompt_pages], out=words[:prompt_pages])
        return words.view(np.int64)

    def _grow(self, pages: int) -> None:
        positions = np.arange(pages, dtype=np.int64)
        self._mixed_positions = positions.view(np.uint64) * _POSITION_MIXER
        #: The block in which each page ends.
        self._block_of_page = ((positions + 1) * self._page_size - 1) // self._block_size


class KvStorage:
    """Page contents, int64 [total_pages + 1] or [total_pages + 1, words] on the pool's device.

    It also stores the writer of each page (`writer_code`, int64 [total_pages + 1]), so that a wrong
    page can be traced to the transfer that wrote it. On a CPU, memory is not touched before a page
    is written, so a pool much larger than a trace needs costs nothing; on CUDA it is allocated
    completely.
    """

    def __init__(self, total_pages: int, words_per_page: int, arrays: Arrays) -> None:
        shape = (total_pages + 1,) if words_per_page == 1 else (total_pages + 1, words_per_page)
        self._arrays = arrays
        # Zeros, because leftovers of an earlier replay in this memory could be correct by accident.
        self._words = arrays.zeros(shape, torch.int64)
        self._written_by = arrays.zeros((total_pages + 1,), torch.int64)

    def write(self, pages: Array, words: Array, writer: int | None = None) -> None:
        """Fill pages (int64 [n]) with one word each (int64 [n]), and record the writer if one is given."""
        self._arrays.join_transfers()
        self._arrays.put(self._words, pages, self._as_rows(words))
        if writer is not None:
            self._arrays.fill(self._written_by, pages, writer)

    def receive(
        self,
        pages: Array,
        source: KvStorage,
        source_pages: Array,
        tag: int,
        writer: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Copy page contents from another pool, device to device, and tag them as arrived.

        `share` is (i, n): copy only every n-th word from the i-th on, the share of one of n
        senders.
        """
        part, parts = share
        target, origin = self._words, source._words
        if parts > 1:
            target, origin = target[:, part::parts], origin[:, part::parts]
        self._arrays.transfer(target, pages, origin, source_pages, tag)
        self._arrays.fill(self._written_by, pages, writer)

    def differences(self, pages: Array, words: Array) -> Array:
        """Which pages (int64 [n]) are not filled with their word: [n], not zero where they differ."""
        self._arrays.join_transfers()
        return self._arrays.differing(self._words, pages, self._as_rows(words))

    def writers(self, pages: Array) -> Array:
        """Return the writer of each of these pages, int64 [n]."""
        return self._arrays.gather(self._written_by, pages)

    def _as_rows(self, words: Array) -> Array:
        return words if self._words.ndim == 1 else words[:, None]
