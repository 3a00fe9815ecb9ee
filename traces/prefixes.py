"""Block hashes of synthetic prompts: equal exactly when everything up to the block is equal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from traces.mixing import GOLDEN, mix_word, mix_words

_GOLDEN = int(GOLDEN)

#: Up to this many blocks, Python's integers beat a numpy call.
_FEW_BLOCKS = 24


def chain_blocks(
    chain: int, key: int, first: int, count: int
) -> tuple[int, npt.NDArray[np.uint64]]:
    """Hash `count` blocks from block number `first` on; return the chain after them and the hashes.

    Args:
        chain: the chain after block `first - 1`, 0 <= chain < 2**64.
        key: stands for the text the blocks are cut from, 0 <= key < 2**64.
        first: number of the first block, from 0.
        count: blocks to hash; the hashes are uint64 of shape (count,).

    A hash is the mixed running sum (mod 2**64) of the mixed contents of all blocks up to it, so it
    names its block with everything before it; the content of a block is its (key, number).
    """
    if count <= _FEW_BLOCKS:
        # The same arithmetic on Python's integers: numpy costs 40 us a call however few they are.
        hashes = []
        for number in range(first + 1, first + count + 1):
            chain = (chain + mix_word(key + number * _GOLDEN)) % 2**64
            hashes.append(mix_word(chain))
        return chain, np.array(hashes, np.uint64)
    numbers = np.arange(first + 1, first + count + 1, dtype=np.uint64) * GOLDEN
    contents = mix_words(numbers + np.uint64(key))
    sums = np.uint64(chain) + np.cumsum(contents, dtype=np.uint64)
    return int(sums[-1]), mix_words(sums)


def child_key(key: int, number: int) -> int:
    """Derive a 64-bit key from a key and a number; other numbers give unrelated keys."""
    return mix_word(mix_word(key + number * _GOLDEN) ^ key)
