"""Block tables: the pages of each request's KV, in order, one row per request.

The table lives on the pool's device and grows by doubling, so that a row is written and read with
one tensor operation, regardless of the number of pages.
"""

from __future__ import annotations

import torch

from replay.pool.arrays import Array, Arrays

_FIRST_ROWS = 32
_FIRST_COLUMNS = 256


class BlockTable:
    """Page ids, int64 [rows, columns]; row numbers are handed out lowest first."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._pages = arrays.zeros((_FIRST_ROWS, _FIRST_COLUMNS), torch.int64)
        self._free_rows = list(range(_FIRST_ROWS - 1, -1, -1))

    def open_row(self) -> int:
        """Allocate a row."""
        if not self._free_rows:
            self._grow(rows=2 * self._pages.shape[0], columns=self._pages.shape[1])
        return self._free_rows.pop()

    def close_row(self, row: int) -> None:
        """Free a row."""
        self._free_rows.append(row)

    def write(self, row: int, start: int, pages: Array) -> None:
        """Put pages (int64 [n]) at positions start .. start + n of one row."""
        end = start + len(pages)
        self.fit_columns(end)
        self._pages[row, start:end] = pages

    def scatter(self, rows: Array, columns: Array, pages: Array) -> None:
        """Put pages[i] at (rows[i], columns[i]); the caller has called `fit_columns`."""
        self._arrays.put_cells(self._pages, rows, columns, pages)

    def read(self, row: int, start: int, end: int) -> Array:
        """Pages at positions start .. end of one row, int64 [end - start]; a view."""
        return self._pages[row, start:end]

    def fit_columns(self, columns: int) -> None:
        """Grow the table so that positions below `columns` exist."""
        if columns > self._pages.shape[1]:
            self._grow(rows=self._pages.shape[0], columns=max(columns, 2 * self._pages.shape[1]))

    def _grow(self, rows: int, columns: int) -> None:
        old_rows, old_columns = self._pages.shape
        grown = self._arrays.zeros((rows, columns), torch.int64)
        grown[:old_rows, :old_columns] = self._pages
        self._free_rows.extend(range(rows - 1, old_rows - 1, -1))
        self._pages = grown
