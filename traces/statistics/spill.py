"""Group records by a 64-bit key in bounded memory, using a temporary file if necessary.

Records are collected in runs. A full run is sorted by *bucket* (some bits of the mixed key) and
appended to one unnamed temporary file, which the operating system removes when the process ends in
any way. Neighbouring buckets of all runs are read back together, so all records of one key come
together, in the order in which they were added.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError
from traces.files.writing import unnamed
from traces.hashing import mix_words

#: Records in a run; 12 bytes are stored for each, and about 60 while a run is sorted.
RUN_RECORDS = 2**21

#: Records returned at once, unless a single bucket holds more.
GROUP_RECORDS = 2**18

_BUCKET_BITS = 12
_BUCKETS = 2**_BUCKET_BITS
_KEY_BYTES, _VALUE_BYTES = 8, 4

Keys = npt.NDArray[np.uint64]
Values = npt.NDArray[np.uint32]


class SpilledRecords(ExitStack):
    """Context manager that collects (key, value) records and returns them grouped by key.

    Example:
        with SpilledRecords() as records:
            records.add(keys, values)
            for keys, values in records.groups():  # every key is in one group only
                ...
    """

    def __init__(self) -> None:
        """Start empty; the temporary file is created when the first run is full."""
        super().__init__()
        self._pending: list[tuple[Keys, Values]] = []
        self._pending_records = 0
        self._file: IO[bytes] | None = None
        #: For each run: its position in the file, and the first record of each bucket.
        self._runs: list[tuple[int, npt.NDArray[np.int64]]] = []

    def add(self, keys: Keys, values: Values) -> None:
        """Add records: uint64 keys and uint32 values of one shape (n,); both are copied.

        Raises:
            TraceError: the temporary file cannot be written.
        """
        self._pending.append((keys.copy(), values.copy()))
        self._pending_records += keys.size
        if self._pending_records >= RUN_RECORDS:
            self._spill()

    def groups(self) -> Iterator[tuple[Keys, Values]]:
        """Yield groups of records in the order they were added, with each key in one group only.

        Raises:
            TraceError: the temporary file cannot be written or read.
        """
        if not self._runs:
            keys, values = self._take_pending()
            if keys.size:
                yield keys, values
            return
        self._spill()
        bounds = np.array([starts for _, starts in self._runs])
        total_before = bounds.sum(axis=0)
        first = 0
        while first < _BUCKETS:
            room = total_before[first] + GROUP_RECORDS
            stop = max(int(np.searchsorted(total_before, room, side="right")) - 1, first + 1)
            if total_before[stop] > total_before[first]:
                yield self._read_buckets(first, stop)
            first = stop

    def _take_pending(self) -> tuple[Keys, Values]:
        pending, self._pending, self._pending_records = self._pending, [], 0
        keys = [keys for keys, _ in pending] or [np.empty(0, np.uint64)]
        values = [values for _, values in pending] or [np.empty(0, np.uint32)]
        return np.concatenate(keys), np.concatenate(values)

    def _spill(self) -> None:
        keys, values = self._take_pending()
        if not keys.size:
            return
        # numpy uses a radix sort for 16-bit keys, several times faster than sorting the 64-bit keys.
        buckets = (mix_words(keys) >> np.uint64(64 - _BUCKET_BITS)).astype(np.uint16)
        order = np.argsort(buckets, kind="stable")
        starts = np.zeros(_BUCKETS + 1, np.int64)
        np.cumsum(np.bincount(buckets, minlength=_BUCKETS), out=starts[1:])
        try:
            if self._file is None:
                # Unnamed, so even a killed process leaves nothing behind.
                self._file = self.enter_context(unnamed())
            self._runs.append((self._file.seek(0, os.SEEK_END), starts))
            self._file.write(keys[order].data)
            self._file.write(values[order].data)
            self._file.flush()
        except OSError as problem:
            raise _unusable(problem) from problem

    def _read_buckets(self, first: int, stop: int) -> tuple[Keys, Values]:
        keys, values = [], []
        for position, starts in self._runs:
            start, count = int(starts[first]), int(starts[stop] - starts[first])
            values_position = position + int(starts[-1]) * _KEY_BYTES
            data = self._read(position + start * _KEY_BYTES, count * _KEY_BYTES)
            keys.append(np.frombuffer(data, np.uint64))
            data = self._read(values_position + start * _VALUE_BYTES, count * _VALUE_BYTES)
            values.append(np.frombuffer(data, np.uint32))
        return np.concatenate(keys), np.concatenate(values)

    def _read(self, position: int, size: int) -> bytes:
        assert self._file is not None
        try:
            self._file.seek(position)
            return self._file.read(size)
        except OSError as problem:
            raise _unusable(problem) from problem


def _unusable(problem: OSError) -> TraceError:
    return TraceError(
        f"{tempfile.gettempdir()}: a temporary file cannot be used "
        f"({problem.strerror or problem}); set TMPDIR to a writable folder with free space"
    )
