"""The rules for rows of a trace, checked batch by batch when reading and when writing.

One `TraceValidator` checks one trace from its first row to its last. It stores only the last
arrival and eight bytes a request (a fingerprint of its id), so it needs little memory compared with
the trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import TraceError
from traces.hashing import SeenFingerprints
from traces.parquet_batches import open_parquet
from traces.schema import COLUMNS, REQUIRED_COLUMNS, TIME_US_MAX

#: Suspected repeats kept for confirmation. Fingerprints of different ids hardly ever collide, so
#: this many suspects certainly include a true repeat.
SUSPECTS_MAX = 1024

_HOW_TO_FIX = {
    "request_id": "give every request its own id",
    "arrival_us": "give every request its arrival in microseconds from the start of the trace",
    "input_tokens": "drop the request or give its real length, at least 1",
    "output_tokens": "drop the request or give its real length, at least 1",
}


class TraceValidator:
    """Checks batch after batch of one trace; every problem is a `TraceError` of one sentence.

    Attributes:
        row_count: rows checked so far; the next batch starts at this row number.
        suspects: id -> row number of ids that *probably* occurred in an earlier batch. Equal 64-bit
            fingerprints are no proof, so the caller must read the rows again and confirm them
            (`confirm_repeats`). A repeat inside one batch raises immediately.
    """

    def __init__(self, name: str, block_size: int | None) -> None:
        """Start at row 0 of the trace that messages call `name`."""
        self.row_count = 0
        self.suspects: dict[str, int] = {}
        self._name = name
        self._block_size = block_size
        self._last_arrival_us = 0
        self._seen = SeenFingerprints()

    def check(self, batch: Any) -> None:
        """Check the next `pyarrow.RecordBatch` of the trace.

        Raises:
            TraceError: naming the file, the column, the row and how to fix it.
        """
        if batch.num_rows == 0:
            return
        for column in COLUMNS:
            if column in REQUIRED_COLUMNS and batch.column(column).null_count:
                row = int(np.argmax(_null_mask(batch.column(column))))
                self._fail(column, row, "is null at row {row}", _HOW_TO_FIX[column])
        arrival_us = batch.column("arrival_us").to_numpy()
        self._check_arrivals(arrival_us)
        input_tokens = batch.column("input_tokens").to_numpy()
        self._check_positive("input_tokens", input_tokens)
        self._check_positive("output_tokens", batch.column("output_tokens").to_numpy())
        self._check_hashes(batch.column("block_hashes"), input_tokens)
        self._check_cancels(batch.column("cancel_us"), arrival_us)
        self._check_identities(batch.column("request_id"))
        self._last_arrival_us = int(arrival_us[-1])
        self.row_count += batch.num_rows

    def _fail(self, column: str, row_in_batch: int, what: str, how_to_fix: str) -> NoReturn:
        row = self.row_count + row_in_batch
        raise TraceError(f"{self._name}: column {column} {what.format(row=row)}; {how_to_fix}")

    def _check_arrivals(self, arrival_us: npt.NDArray[np.int64]) -> None:
        negative = arrival_us < 0
        if negative.any():
            row = int(np.argmax(negative))
            what = f"is negative at row {{row}} ({arrival_us[row]})"
            self._fail("arrival_us", row, what, "shift the trace so that it starts at 0")
        self._check_latest("arrival_us", arrival_us)
        former = np.concatenate(([self._last_arrival_us], arrival_us[:-1]))
        backwards = arrival_us < former
        if backwards.any():
            row = int(np.argmax(backwards))
            what = f"goes back in time at row {{row}} ({arrival_us[row]} after {former[row]})"
            self._fail("arrival_us", row, what, "sort the trace by arrival_us")

    def _check_latest(self, column: str, times_us: npt.NDArray[np.int64]) -> None:
        late = times_us > TIME_US_MAX
        if late.any():
            row = int(np.argmax(late))
            what = f"is {times_us[row]} at row {{row}}, later than 2**62"
            self._fail(column, row, what, "give times in microseconds from the start of the trace")

    def _check_positive(self, column: str, values: npt.NDArray[np.int32]) -> None:
        bad = values < 1
        if bad.any():
            row = int(np.argmax(bad))
            what = f"is {values[row]} at row {{row}}"
            self._fail(column, row, what, _HOW_TO_FIX[column])

    def _check_hashes(self, hashes: Any, input_tokens: npt.NDArray[np.int32]) -> None:
        if hashes.null_count == len(hashes):
            return
        known = ~_null_mask(hashes)
        if self._block_size is None:
            row = int(np.argmax(known))
            what = "is filled at row {row} although the trace declares no block_size"
            self._fail("block_hashes", row, what, "declare the tokens per block or leave it null")
        counts = np.diff(hashes.offsets.to_numpy())
        expected = -(-input_tokens.astype(np.int64) // self._block_size)
        wrong = known & (counts != expected)
        if wrong.any():
            row = int(np.argmax(wrong))
            what = (
                f"has {counts[row]} hashes at row {{row}} where {input_tokens[row]} input tokens "
                f"in blocks of {self._block_size} make {expected[row]}"
            )
            self._fail("block_hashes", row, what, "give one hash per block or null")
        flat = hashes.flatten()
        if flat.null_count:
            ends = np.cumsum(np.where(known, counts, 0))
            row = int(np.searchsorted(ends, np.argmax(_null_mask(flat)), side="right"))
            what = "has a null hash at row {row}"
            self._fail("block_hashes", row, what, "give one hash per block or null for the list")

    def _check_cancels(self, cancels: Any, arrival_us: npt.NDArray[np.int64]) -> None:
        if cancels.null_count == len(cancels):
            return
        known = ~_null_mask(cancels)
        cancel_us = cancels.fill_null(0).to_numpy()
        self._check_latest("cancel_us", cancel_us)
        early = known & (cancel_us < arrival_us)
        if early.any():
            row = int(np.argmax(early))
            what = (
                f"is before the arrival at row {{row}} ({cancel_us[row]} before {arrival_us[row]})"
            )
            fix = "cancel_us is an absolute time on the clock of arrival_us"
            self._fail("cancel_us", row, what, fix)

    def _check_identities(self, identities: Any) -> None:
        names: list[str] = identities.to_numpy(zero_copy_only=False).tolist()
        # hash() differs between processes, which is harmless: it only raises suspicions.
        fingerprints = np.fromiter(map(hash, names), np.int64, len(names))
        order = np.sort(fingerprints)
        if "" in names:
            self._fail("request_id", names.index(""), "is empty at row {row}", "give it an id")
        if (order[1:] == order[:-1]).any():
            first: dict[str, int] = {}
            for row, name in enumerate(names):
                if name in first:
                    what = _repeat_message(name, self.row_count + first[name])
                    self._fail("request_id", row, what, _HOW_TO_FIX["request_id"])
                first[name] = row
        if self._seen.known(order).any():
            for row in np.flatnonzero(self._seen.known(fingerprints)).tolist():
                if len(self.suspects) < SUSPECTS_MAX:
                    self.suspects.setdefault(names[row], self.row_count + row)
        self._seen.add(order)


def confirm_repeats(path: Path, name: str, suspects: Mapping[str, int]) -> None:
    """Read the ids of the Parquet file at `path` again, and raise if a suspect is a true repeat.

    Args:
        path: file to scan, column request_id only.
        name: what the message calls it.
        suspects: id -> row of its suspected repeat.

    Raises:
        TraceError: naming the id and both rows.
    """
    wanted = pa.array(list(suspects), pa.string())
    base = 0
    with open_parquet(path) as parquet:
        for batch in parquet.iter_batches(columns=["request_id"]):
            column = batch.column(0).cast(pa.string())
            for row in np.flatnonzero(pc.is_in(column, wanted).to_numpy(zero_copy_only=False)):
                identity = column[int(row)].as_py()
                if base + int(row) < suspects[identity]:
                    what = _repeat_message(identity, base + int(row))
                    raise TraceError(
                        f"{name}: column request_id {what.format(row=suspects[identity])}; "
                        "give every request its own id"
                    )
            base += batch.num_rows


def _repeat_message(name: str, first_row: int) -> str:
    """Return the words for a repeated id, with `{row}` left for the row of the repeat."""
    shown = repr(name).replace("{", "{{").replace("}", "}}")
    return f"repeats {shown} at row {{row}} (first at row {first_row})"


def _null_mask(array: Any) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return mask
