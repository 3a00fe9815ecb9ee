"""A 64-bit finaliser: similar numbers in, unrelated words out, no two alike (as in splitmix64)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: An odd increment that keeps multiples of it far apart (2**64 over the golden ratio).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)

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
