"""Random numbers that depend on what they are about, and on nothing drawn before."""

from __future__ import annotations

import hashlib

_HASH_RANGE = float(1 << 64)
#: The largest number below 1: the highest hashes would be rounded up to 1 itself.
_CHANCE_MAX = 1.0 - 2.0**-53


#: What is said of any other value, wherever it stands.
PROBABILITY_WORDS = "must be a number between 0 and 1"


def checked_probability(value: object) -> float:
    """The same number.

    Raises:
        ValueError: it is no probability.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return value
    raise ValueError(PROBABILITY_WORDS)


def uniform(seed: int, rule_name: str, about: str) -> float:
    """A number in [0, 1) that depends on these three things and on nothing else."""
    key = f"{seed}\x1f{rule_name}\x1f{about}".encode()
    drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return min(drawn / _HASH_RANGE, _CHANCE_MAX)
