"""A counter fed with scalars that the device may still be computing, and read at audits."""

from __future__ import annotations

from replay.pool.arrays import Array, Arrays

#: Scalars kept apart before they are summed: the bound on the queue.
_PENDING_MAX = 1024


class DeviceCounter:
    """Sum of scalars; adding one costs a list append, and one in a thousand waits for the device."""

    __slots__ = ("_arrays", "_pending", "_total")

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._pending: list[Array] = []
        self._total = 0

    def add(self, scalar: Array) -> None:
        """Add a scalar (int64 []) that may not have been computed yet."""
        self._pending.append(scalar)
        if len(self._pending) >= _PENDING_MAX:
            self._fold()

    def read(self) -> int:
        """The sum so far."""
        self._fold()
        return self._total

    def _fold(self) -> None:
        self._total += self._arrays.read_sum(self._pending)
        self._pending = []
