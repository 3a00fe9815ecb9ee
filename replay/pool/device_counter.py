"""A counter of scalars that the device may still be computing; it is read at audits."""

from __future__ import annotations

from replay.pool.arrays import Array, Arrays

#: Scalars kept before they are summed on the device, which bounds the queue.
_PENDING_MAX = 1024


class DeviceCounter:
    """Sum of scalars. Adding one costs a list append; only reading waits for the device."""

    __slots__ = ("_arrays", "_pending")

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._pending: list[Array] = []

    def add(self, scalar: Array) -> None:
        """Add a scalar (int64 []) that may not have been computed yet."""
        self._pending.append(scalar)
        if len(self._pending) >= _PENDING_MAX:
            self._pending = [self._arrays.total(self._pending)]

    def read(self) -> int:
        """The sum so far."""
        return int(self._arrays.total(self._pending)) if self._pending else 0
