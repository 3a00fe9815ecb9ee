"""The few array operations that pools need, on a device and on the host.

Everything a pool keeps is an array on one device. On a CPU most operations touch a few hundred
pages, and there torch spends far more time on dispatch than on the pages; so for a CPU the same
operations run on NumPy arrays (`HostArrays`), views of a tensor's memory among them, which is
several times faster, and for any other device on tensors (`DeviceArrays`). Both give equal results,
element by element; tests run every pool on both.

Nothing here waits for a device but `to_list`, `unique`, and turning a scalar into an int.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

#: A tensor, or the NumPy view of one. Page ids, contents and counts are int64, owners int32.
Array: TypeAlias = Any


class Arrays(Protocol):
    """Where arrays live and how they are worked on."""

    @property
    def device(self) -> torch.device:
        """The device that holds them."""

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An array of zeros; on a CPU its memory is not touched before it is written."""

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An array of anything."""

    def arange(self, start: int, end: int) -> Array:
        """int64 start .. end."""

    def upload(self, values: npt.NDArray[np.int64]) -> Array:
        """A host array as an array of the device."""

    def concatenate(self, parts: Sequence[Array]) -> Array:
        """One array of several."""

    def backwards(self, values: Array) -> Array:
        """A copy in reverse order."""

    def sorted_descending(self, values: Array) -> Array:
        """A copy, greatest first."""

    def sorted_ascending(self, values: Array) -> Array:
        """A copy, least first."""

    def unique(self, values: Array) -> Array:
        """The distinct values, least first. Waits for the device."""

    def copy(self, values: Array) -> Array:
        """A copy."""

    def gather(self, values: Array, index: Array) -> Array:
        """values[index], along the first dimension."""

    def put(self, values: Array, index: Array, new: Array) -> None:
        """values[index] = new, along the first dimension."""

    def fill(self, values: Array, index: Array, new: int) -> None:
        """values[index] = new, one number everywhere."""

    def put_cells(self, table: Array, rows: Array, columns: Array, new: Array) -> None:
        """table[rows[i], columns[i]] = new[i]."""

    def as_owners(self, values: Array) -> Array:
        """As int32."""

    def as_indices(self, values: Array) -> Array:
        """int32 values as a new int64 array."""

    def count_nonzero(self, values: Array) -> Array:
        """How many elements are not zero, left on the device."""

    def first_nonzero(self, values: Array) -> Array:
        """Where the first element is that is not zero, int64 [1], 0 when none is."""

    def is_known_zero(self, scalar: Array) -> bool:
        """Whether a scalar is zero and this can be told without waiting for the device."""

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag, the bytes of a transfer."""

    def join_transfers(self) -> None:
        """Have everything that follows see the transfers so far."""

    def total(self, scalars: Sequence[Array]) -> Array:
        """The sum of at least one scalar, left on the device."""

    def to_list(self, scalars: Sequence[Array]) -> list[int]:
        """Scalars, on the host. Waits for the device."""


def arrays_on(device: torch.device) -> Arrays:
    """The operations for a device: host views for the CPU, tensors for the rest."""
    # Imported here, because they are a kind of `DeviceArrays`.
    from replay.pool.cuda_arrays import CudaArrays

    if device.type == "cpu":
        return HostArrays()
    return CudaArrays(device) if device.type == "cuda" else DeviceArrays(device)


def _untouched_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros from the system, page by page when they are written; torch would write them all."""
    return torch.from_numpy(np.zeros(shape, dtype=_numpy_dtype(dtype)))


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return torch.empty(0, dtype=dtype).numpy().dtype


class HostArrays:
    """NumPy arrays in the host's memory, which torch can share without a copy."""

    # The hottest ones are C functions as they are: a Python frame around them would cost as much.
    concatenate = staticmethod(np.concatenate)
    copy = staticmethod(np.ndarray.copy)
    gather = staticmethod(operator.getitem)
    put = staticmethod(operator.setitem)
    fill = staticmethod(operator.setitem)

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An array of zeros, whose memory is not touched before it is written."""
        return _untouched_zeros(shape, dtype).numpy()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An array of anything, in memory for which NumPy asks for huge pages when it is large."""
        return np.empty(shape, dtype=_numpy_dtype(dtype))

    def arange(self, start: int, end: int) -> Array:
        """int64 start .. end."""
        return np.arange(start, end, dtype=np.int64)

    def upload(self, values: npt.NDArray[np.int64]) -> Array:
        """The same array."""
        return values

    def backwards(self, values: Array) -> Array:
        """A copy in reverse order."""
        return values[::-1].copy()

    def sorted_descending(self, values: Array) -> Array:
        """A copy, greatest first."""
        ascending = values.copy()
        ascending.sort()
        return ascending[::-1]

    def sorted_ascending(self, values: Array) -> Array:
        """A copy, least first."""
        ascending = values.copy()
        ascending.sort()
        return ascending

    def unique(self, values: Array) -> Array:
        """The distinct values, least first."""
        return np.unique(values)

    def put_cells(self, table: Array, rows: Array, columns: Array, new: Array) -> None:
        """table[rows[i], columns[i]] = new[i]."""
        table[rows, columns] = new

    def as_owners(self, values: Array) -> Array:
        """As int32."""
        return values.astype(np.int32)

    def as_indices(self, values: Array) -> Array:
        """int32 values as a new int64 array."""
        return values.astype(np.int64)

    def count_nonzero(self, values: Array) -> Array:
        """How many elements are not zero."""
        return np.count_nonzero(values)

    def first_nonzero(self, values: Array) -> Array:
        """Where the first element is that is not zero, int64 [1], 0 when none is."""
        return np.array([np.argmax(values != 0)], dtype=np.int64)

    def is_known_zero(self, scalar: Array) -> bool:
        """Whether a scalar is zero."""
        return not scalar

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag."""
        target[pages] = source[source_pages] ^ tag

    def join_transfers(self) -> None:
        """Nothing is ever under way."""

    def total(self, scalars: Sequence[Array]) -> Array:
        """The sum of at least one scalar."""
        return sum(scalars)

    def to_list(self, scalars: Sequence[Array]) -> list[int]:
        """Scalars as they are."""
        return list(scalars)


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
            return _untouched_zeros(shape, dtype)
        return torch.zeros(shape, dtype=dtype, device=self._device)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """A tensor of anything."""
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

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag."""
        target.index_copy_(0, pages, source.index_select(0, source_pages) ^ tag)

    def join_transfers(self) -> None:
        """Nothing is ever under way."""

    def total(self, scalars: Sequence[Array]) -> Array:
        """The sum of at least one scalar, left on the device."""
        return torch.stack(tuple(scalars)).sum()

    def to_list(self, scalars: Sequence[Array]) -> list[int]:
        """Scalars, on the host. Waits for the device."""
        return [int(value) for value in torch.stack(tuple(scalars)).tolist()] if scalars else []
