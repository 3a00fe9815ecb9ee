"""Finds the few lines of a block that say something, without looking at the others one by one.

Most lines of a server's log are access lines, status lines or nothing that is known. All words are
searched for in one pass (Aho-Corasick, in polars), and status lines, where there are many, are
thinned (see `thinning`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from replay.diagnosis.lines import LINE_BYTES_MAX
from replay.diagnosis.thinning import STATUS_WORD, kept_status_lines

_NEWLINE = 10
#: Bytes beyond ASCII, which no word has, become question marks.
_ASCII = bytes(range(128)) + b"?" * 128

#: The last two letters of what stands before a status line's word.
_ENDS = tuple(int.from_bytes(end) for end in (b"de", b"ll"))

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """What a block has.

    Attributes:
        lines: how many, the others included.
        long_lines: those that are examined only to their `LINE_BYTES_MAX`.
        wanted: the lines that may say something, numbered from 0.
    """

    lines: int
    long_lines: int
    wanted: Iterator[tuple[int, bytes]]


class Scanner:
    """Finds lines with one of some words.

    Args:
        words: ASCII; without the status lines' own, which are always looked for.
        thins: whether status lines may be left out where there are many.
    """

    def __init__(self, words: Sequence[str], thins: bool) -> None:
        self._words = sorted(set(words))
        self._thins = thins

    def lines(self, block: bytes) -> Found:
        """The lines of a block that may say something.

        Args:
            block: whole lines; the last one may lack its line end.
        """
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _NEWLINE)
        if len(ends) == 0 or ends[-1] != len(block) - 1:
            ends = np.append(ends, len(block))
        starts = np.concatenate(([0], ends[:-1] + 1))
        rare, rare_lines = _in_lines(self._rare(block), starts)
        status, status_lines = _in_lines(_status_positions(block, data), starts)
        if self._thins:
            kept = kept_status_lines(data, status, starts[status_lines], rare)
            status_lines = status_lines[kept]
        wanted = np.unique(np.concatenate((rare_lines, status_lines)))
        long_lines = int(np.count_nonzero(ends - starts > LINE_BYTES_MAX))
        return Found(len(ends), long_lines, _cut(block, wanted, starts, ends))

    def _rare(self, block: bytes) -> Positions:
        text = block if block.isascii() else block.translate(_ASCII)
        found = pl.Series([text]).cast(pl.String).str.find_many(self._words)
        return np.unique(found.explode().drop_nulls().to_numpy()).astype(np.int64)


def _status_positions(block: bytes, data: npt.NDArray[np.uint8]) -> Positions:
    """Where status lines have their word: after `Decode` and `Prefill`."""
    positions = []
    find = block.find
    at = find(STATUS_WORD, 2)
    while at >= 0:
        positions.append(at)
        at = find(STATUS_WORD, at + 8)
    found = np.array(positions, np.int64)
    before = data[found - 2].astype(np.int16) * 256 + data[found - 1]
    status: Positions = found[(before == _ENDS[0]) | (before == _ENDS[1])]
    return status


def _in_lines(positions: Positions, starts: Positions) -> tuple[Positions, Positions]:
    """The first of some positions in each line, near enough to its start, and these lines."""
    lines = np.searchsorted(starts, positions, side="right") - 1
    is_first = np.diff(lines, prepend=-1) != 0
    is_near = positions - starts[lines] < LINE_BYTES_MAX
    return positions[is_first & is_near], lines[is_first & is_near]


def _cut(
    block: bytes, wanted: Positions, starts: Positions, ends: Positions
) -> Iterator[tuple[int, bytes]]:
    for number in wanted.tolist():
        start, end = int(starts[number]), int(ends[number])
        yield number, block[start : min(end, start + LINE_BYTES_MAX)]
