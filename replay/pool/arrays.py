"""The array operations that pools need, on a device and on the host.

Everything a pool keeps is an array on one device. On a CPU most operations touch a few hundred
pages, and there torch spends far more time on dispatch than on the pages; so for a CPU the same
operations run on NumPy arrays (`HostArrays`), views of a tensor's memory among them, which is
several times faster, and for any other device on tensors (`replay.pool.device_arrays`). Both give
equal results, element by element; tests run every pool on both.

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
    """The array operations of one device."""

    @property
    def device(self) -> torch.device:
        """The device that holds them."""

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An array of zeros; on a CPU its memory is not touched before it is written."""

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An uninitialized array."""

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

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag, along the first dimension.

        It may be carried out any time before the next `join_transfers`, so the index arrays must
        stay as they are until then, and the rows must be neither written nor, in `target`, read.
        """

    def join_transfers(self) -> None:
        """Order all later operations after every transfer, without waiting on the host."""

    def as_owners(self, values: Array) -> Array:
        """As int32."""

    def as_indices(self, values: Array) -> Array:
        """int32 values as a new int64 array."""

    def count_nonzero(self, values: Array) -> Array:
        """How many elements are not zero, left on the device."""

    def first_nonzero(self, values: Array) -> Array:
        """Where the first element is that is not zero, int64 [1], 0 when none is."""

    def is_known_zero(self, scalar: Array) -> bool:
        """Whether a scalar is known to be zero without waiting for the device."""

    def differing(self, values: Array, index: Array, expected: Array) -> Array:
        """Which rows of values[index] are not `expected` throughout: [n], not zero where so."""

    def total(self, scalars: Sequence[Array]) -> Array:
        """The sum of at least one scalar, left on the device."""

    def to_list(self, scalars: Sequence[Array]) -> list[int]:
        """Scalars, on the host. Waits for the device."""


def untouched_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return zeros that the system provides page by page on first write; torch would write them all."""
    return torch.from_numpy(np.zeros(shape, dtype=_numpy_dtype(dtype)))


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return torch.empty(0, dtype=dtype).numpy().dtype


class HostArrays:
    """NumPy arrays in the host's memory, which torch can share without a copy."""

    # The most frequent ones are C functions without a wrapper: a Python frame would cost as much as the call.
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
        return untouched_zeros(shape, dtype).numpy()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Array:
        """An uninitialized array; for large ones NumPy requests huge pages."""
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

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag, at once."""
        target[pages] = source[source_pages] ^ tag

    def join_transfers(self) -> None:
        """Every transfer is done already."""

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

    def differing(self, values: Array, index: Array, expected: Array) -> Array:
        """Which rows of values[index] are not `expected` throughout: [n], not zero where so."""
        differences = values[index] ^ expected
        return differences.any(1) if differences.ndim == 2 else differences

    def total(self, scalars: Sequence[Array]) -> Array:
        """The sum of at least one scalar."""
        return sum(scalars)

    def to_list(self, scalars: Sequence[Array]) -> list[int]:
        """Scalars as they are."""
        return list(scalars)
