"""64-bit hashes: a mixing function, block hashes of synthetic prompts, and a set of seen ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

#: An odd increment that keeps multiples of it far apart (2**64 over the golden ratio).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)

_GOLDEN = int(GOLDEN)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix_words(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix every word (xor-shift-multiply, as in splitmix64); a bijection, so none collide."""
    words = (words ^ (words >> np.uint64(30))) * _MIX_1
    words = (words ^ (words >> np.uint64(27))) * _MIX_2
    return words ^ (words >> np.uint64(31))


def mix_word(word: int) -> int:
    """Mix one word, any integer modulo 2**64, as `mix_words` does."""
    word %= 2**64
    word = ((word ^ (word >> 30)) * int(_MIX_1)) % 2**64
    word = ((word ^ (word >> 27)) * int(_MIX_2)) % 2**64
    return word ^ (word >> 31)


#: Up to this many blocks, Python integers are faster than a numpy call.
_FEW_BLOCKS = 24


def chain_blocks(
    chain: int, key: int, first: int, count: int
) -> tuple[int, npt.NDArray[np.uint64]]:
    """Hash `count` blocks, starting at block `first`; return the new chain and the hashes.

    Args:
        chain: the chain after block `first - 1`, 0 <= chain < 2**64.
        key: identifies the text of the blocks, 0 <= key < 2**64.
        first: number of the first block, from 0.
        count: number of blocks; the hashes are uint64 of shape (count,).

    A hash is the mixed running sum (mod 2**64) of the mixed contents of all blocks up to it, so it
    identifies its block together with everything before it. The content of a block is its (key,
    number).
    """
    if count <= _FEW_BLOCKS:
        # The same arithmetic on Python integers: a numpy call costs at least 40 us.
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
    """Derive a 64-bit key from a key and a number; different numbers give unrelated keys."""
    return mix_word(mix_word(key + number * _GOLDEN) ^ key)


def fingerprints(names: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return 64 bits of a hash of each name, int64 of shape (names,).

    The probability that any two of 10,000,000 names collide is 3e-6.
    """
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, "<i8")


class SeenFingerprints:
    """A growing set of int64 in sorted numpy runs: eight bytes a member, cheap batch membership.

    Runs are merged so that each is more than twice the next; there are never more than
    log2(members) of them.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._runs: list[npt.NDArray[np.int64]] = []

    def known(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return a mask of the values that are members."""
        found = np.zeros(values.shape, np.bool_)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, values), run.size - 1)
            found |= run[places] == values
        return found

    def add(self, sorted_values: npt.NDArray[np.int64]) -> None:
        """Add sorted values that are not members yet."""
        if not sorted_values.size:
            return
        self._runs.append(sorted_values)
        while len(self._runs) > 1 and self._runs[-2].size <= 2 * self._runs[-1].size:
            last = self._runs.pop()
            self._runs[-1] = np.sort(np.concatenate((self._runs[-1], last)), kind="stable")
