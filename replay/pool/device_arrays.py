"""The array operations of pools on torch tensors, for any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from replay.pool.arrays import Array, untouched_zeros

#: Words copied at a time, 64 MiB: with the KV width of a real model, a temporary copy of one long
#: request's pages would take a large part of the device's memory.
_TRANSFER_WORDS = 8 << 20


class DeviceArrays:
    """Torch tensors on any device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def device(self) -> torch.device:
        """The device that holds them."""
        return self._device

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """A tensor of zeros."""
        if self._device.type == "cpu":
            return untouched_zeros(shape, dtype)
        return torch.zeros(shape, dtype=dtype, device=self._device)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An uninitialized tensor."""
        return torch.empty(shape, dtype=dtype, device=self._device)

    def arange(self, start: int, end: int) -> Array:
        """int64 start .. end."""
        return torch.arange(start, end, dtype=torch.int64, device=self._device)

    def upload(self, values: npt.NDArray[np.int64]) -> Array:
        """The values as a tensor on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def concatenate(self, parts: Sequence[Array]) -> Array:
        """One tensor of several."""
        return torch.cat(tuple(parts))

    def backwards(self, values: Array) -> Array:
        """A copy in reverse order."""
        return values.flip(0)

    def sorted_descending(self, values: Array) -> Array:
        """A copy, greatest first."""
        return torch.sort(values, descending=True).values

    def sorted_ascending(self, values: Array) -> Array:
        """A copy, least first."""
        return torch.sort(values).values

    def unique(self, values: Array) -> Array:
        """The distinct values, least first. Waits for the device."""
        return torch.unique(values)

    def copy(self, values: Array) -> Array:
        """A copy."""
        return values.clone()

    def gather(self, values: Array, index: Array) -> Array:
        """values[index], along the first dimension."""
        return values.index_select(0, index)

    def put(self, values: Array, index: Array, new: Array) -> None:
        """values[index] = new, along the first dimension."""
        values.index_copy_(0, index, new.expand(len(index), *values.shape[1:]))

    def fill(self, values: Array, index: Array, new: int) -> None:
        """values[index] = new, one number everywhere."""
        values.index_fill_(0, index, new)

    def put_cells(self, table: Array, rows: Array, columns: Array, new: Array) -> None:
        """table[rows[i], columns[i]] = new[i]."""
        table.index_put_((rows, columns), new)

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag, with bounded temporary memory."""
        step = max(1, _TRANSFER_WORDS // source.stride(0))
        for start in range(0, len(pages), step):
            rows = source.index_select(0, source_pages[start : start + step])
            target.index_copy_(0, pages[start : start + step], rows.bitwise_xor_(tag))

    def join_transfers(self) -> None:
        """Nothing to do: every transfer is already done."""

    def as_owners(self, values: Array) -> Array:
        """As int32."""
        return values.to(torch.int32)

    def as_indices(self, values: Array) -> Array:
        """int32 values as a new int64 tensor."""
        return values.to(torch.int64)

    def count_nonzero(self, values: Array) -> Array:
        """How many elements are not zero, left on the device."""
        return torch.count_nonzero(values)

    def first_nonzero(self, values: Array) -> Array:
        """Where the first element is that is not zero, int64 [1], 0 when none is."""
        return (values != 0).to(torch.int32).argmax().reshape(1)

    def is_known_zero(self, scalar: Array) -> bool:
        """Never: it is on the device."""
        return False

    def differing(self, values: Array, index: Array, expected: Array) -> Array:
        """Which rows of values[index] differ, with bounded temporary memory."""
        if values.ndim == 1:
            return values.index_select(0, index) ^ expected
        parts = []
        step = max(1, _TRANSFER_WORDS // values.stride(0))
        for start in range(0, max(1, len(index)), step):
            rows = values.index_select(0, index[start : start + step])
            parts.append(rows.bitwise_xor_(expected[start : start + step]).any(1))
        return torch.cat(parts)

    def total(self, scalars: Sequence[Array]) -> Array:
        """The sum of at least one scalar, left on the device."""
        return torch.stack(tuple(scalars)).sum()

    def to_list(self, scalars: Sequence[Array]) -> list[int]:
        """Scalars, on the host. Waits for the device."""
        return [int(value) for value in torch.stack(tuple(scalars)).tolist()] if scalars else []
