"""Random numbers that depend on what they are about, and on nothing drawn before."""

from __future__ import annotations

import hashlib

_HASH_RANGE = float(1 << 64)


def uniform(seed: int, rule_name: str, about: str) -> float:
    """A number in [0, 1) that depends on these three things and on nothing else."""
    key = f"{seed}\x1f{rule_name}\x1f{about}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / _HASH_RANGE
