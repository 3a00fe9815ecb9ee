"""Count the prompt blocks that an infinite prefix cache would find from earlier requests."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.statistics.spill import SpilledRecords


class PrefixReuse(ExitStack):
    """Context manager that counts seen blocks and tokens of a trace, in bounded memory.

    A block is seen if its hash occurred before, in an earlier request or earlier in the same
    request. The count is exact for traces of any size: hashes that do not fit in memory go to a
    temporary file.
    """

    def __init__(self, block_size: int) -> None:
        """Start without requests; `block_size` is the tokens a block hash covers."""
        super().__init__()
        self._block_size = block_size
        self._records = self.enter_context(SpilledRecords())
        self._requests = 0
        self._blocks = 0
        self._tokens = 0

    def add(self, block_hashes: Any, input_tokens: npt.NDArray[np.int32]) -> None:
        """Count a batch: its `block_hashes` column (a `pyarrow.ListArray`) and prompt lengths.

        Raises:
            TraceError: a temporary file cannot be written.
        """
        hashes, counts = flat_hashes(block_hashes)
        if not hashes.size:
            return
        has_hashes = counts > 0
        lengths, counts = input_tokens[has_hashes].astype(np.int64), counts[has_hashes]
        tokens = np.full(hashes.size, self._block_size, np.uint32)
        # The last block of a prompt may be partial; it counts with its number of tokens.
        tokens[np.cumsum(counts) - 1] = lengths - (counts - 1) * self._block_size
        self._records.add(hashes, tokens)
        self._requests += counts.size
        self._blocks += hashes.size
        self._tokens += int(lengths.sum())

    def result(self) -> dict[str, int | float] | None:
        """Return the counts under their names in `inspect_trace`; None if there was no block.

        Raises:
            TraceError: a temporary file cannot be read.
        """
        if not self._blocks:
            return None
        distinct, tokens_unseen = 0, 0
        for hashes, tokens in self._records.groups():
            first = _first_places(hashes)
            distinct += first.size
            tokens_unseen += int(tokens[first].sum(dtype=np.int64))
        blocks_seen, tokens_seen = self._blocks - distinct, self._tokens - tokens_unseen
        return {
            "requests_with_hashes": self._requests,
            "blocks": self._blocks,
            "blocks_seen": blocks_seen,
            "tokens": self._tokens,
            "tokens_seen": tokens_seen,
            "blocks_share": blocks_seen / self._blocks,
            "tokens_share": tokens_seen / self._tokens,
        }


def flat_hashes(block_hashes: Any) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return all hashes of a `pyarrow.ListArray` in row order, and how many each row has."""
    counts = np.diff(block_hashes.offsets.to_numpy()).astype(np.int64)
    if block_hashes.null_count:
        counts[block_hashes.is_null().to_numpy(zero_copy_only=False)] = 0
    return block_hashes.flatten().to_numpy(), counts


def _first_places(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return where each different key occurs first."""
    # An unstable sort is three times as fast; the smallest place among equals is the first one.
    order = np.argsort(keys)
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    places: npt.NDArray[np.int64] = np.minimum.reduceat(order, starts)
    return places
