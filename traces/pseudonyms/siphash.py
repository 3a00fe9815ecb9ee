"""SipHash-2-4 of many 64-bit words at once, in numpy.

A keyed pseudorandom function (Aumasson and Bernstein, 2012): without the key its values are
indistinguishable from random ones, so they neither reveal the input words nor can be matched with
them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Bytes of a key.
KEY_BYTES = 16

#: Words hashed at once: the six arrays of a chunk stay in a processor's cache.
_CHUNK_WORDS = 16384

# The specification's initial state: "somepseudorandomlygeneratedbytes".
_INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)

# The last block of a message of 8 bytes: its length in the top byte, no bytes left over.
_LENGTH_BLOCK = np.uint64(8 << 56)

_Words = npt.NDArray[np.uint64]


def siphash_words(words: _Words, key: bytes) -> _Words:
    """Hash each word as the message of its 8 little-endian bytes.

    Args:
        words: uint64, shape (count,).
        key: 16 bytes.

    Returns:
        uint64, shape (count,).

    Raises:
        ValueError: the key has another length.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a SipHash key has {KEY_BYTES} bytes, this one {len(key)}")
    low, high = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    state = [np.uint64(part ^ (high if i % 2 else low)) for i, part in enumerate(_INITIAL)]
    hashes = np.empty_like(words)
    for start in range(0, words.size, _CHUNK_WORDS):
        part = slice(start, start + _CHUNK_WORDS)
        hashes[part] = _hash_chunk(words[part], state)
    return hashes


def _hash_chunk(words: _Words, state: list[np.uint64]) -> _Words:
    lanes = [np.full(words.size, part) for part in state]
    scratch = np.empty_like(words)
    for block in (words, _LENGTH_BLOCK):
        lanes[3] ^= block
        _mix(lanes, scratch, rounds=2)
        lanes[0] ^= block
    lanes[2] ^= np.uint64(0xFF)
    _mix(lanes, scratch, rounds=4)
    return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3]


def _mix(lanes: list[_Words], scratch: _Words, rounds: int) -> None:
    """Apply SipRounds to the four lanes, in place."""
    v0, v1, v2, v3 = lanes
    for _ in range(rounds):
        v0 += v1
        _rotate(v1, 13, scratch)
        v1 ^= v0
        _rotate(v0, 32, scratch)
        v2 += v3
        _rotate(v3, 16, scratch)
        v3 ^= v2
        v0 += v3
        _rotate(v3, 21, scratch)
        v3 ^= v0
        v2 += v1
        _rotate(v1, 17, scratch)
        v1 ^= v2
        _rotate(v2, 32, scratch)


def _rotate(words: _Words, bits: int, scratch: _Words) -> None:
    """Rotate every word to the left, in place."""
    np.left_shift(words, np.uint64(bits), out=scratch)
    np.right_shift(words, np.uint64(64 - bits), out=words)
    np.bitwise_or(words, scratch, out=words)
