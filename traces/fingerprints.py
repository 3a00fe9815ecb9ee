"""Which ids occurred before, in eight bytes an id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def fingerprints(names: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return 64 bits of a hash of each name, int64 of shape (names,).

    Two of 10,000,000 names meet with probability 3e-6.
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
        """Return which of some values are members."""
        found = np.zeros(values.shape, np.bool_)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, values), run.size - 1)
            found |= run[places] == values
        return found

    def add(self, sorted_values: npt.NDArray[np.int64]) -> None:
        """Take in values that are sorted and no members yet."""
        if not sorted_values.size:
            return
        self._runs.append(sorted_values)
        while len(self._runs) > 1 and self._runs[-2].size <= 2 * self._runs[-1].size:
            last = self._runs.pop()
            self._runs[-1] = np.sort(np.concatenate((self._runs[-1], last)), kind="stable")
