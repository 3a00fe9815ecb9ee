"""Finds the few lines of a block that say something, without looking at the others one by one.

Most lines of a server's log are access lines, status lines or nothing that is known. Pieces of a
block are first asked whether they have any of the words (a regular expression of literals, in polars,
which is fast where none is), and only those that do are searched for places. Status lines, where
there are many, are thinned (see `thinning`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from replay.diagnosis.reading.thinning import find_status_lines, kept_status_lines
from replay.server_lines.log_line import LINE_BYTES_MAX

_NEWLINE = 10
_PADDING = b"\n" * 64
_PIECE_BYTES = 32 * 1024
#: Bytes beyond ASCII, which no word has, become question marks.
_ASCII = bytes(range(128)) + b"?" * 128

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
    """Finds lines with one of some words, and status lines.

    Args:
        words: ASCII; without the status lines' own, which are always looked for.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = sorted(set(words))
        self._any_word = "|".join(re.escape(word) for word in self._words)

    def lines(self, block: bytes, *, thins: bool = False) -> Found:
        """The lines of a block that may say something.

        Args:
            block: whole lines; the last one may lack its line end.
            thins: whether status lines may be left out where there are many.
        """
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _NEWLINE)
        if len(ends) == 0 or ends[-1] != len(block) - 1:
            ends = np.append(ends, len(block))
        starts = np.concatenate(([0], ends[:-1] + 1))
        rare_lines = np.unique(_near(self._rare(block), starts))
        status = find_status_lines(block + _PADDING)
        status_lines = _near(status.first_signs, starts)
        if thins and len(status_lines) == len(status):
            kept = kept_status_lines(status, starts[status_lines], starts[rare_lines])
            status_lines = status_lines[kept]
        wanted = np.unique(np.concatenate((rare_lines, status_lines)))
        long_lines = int(np.count_nonzero(ends - starts > LINE_BYTES_MAX))
        return Found(len(ends), long_lines, _cut(block, wanted, starts, ends))

    def _rare(self, block: bytes) -> Positions:
        """Where words are."""
        text = block if block.isascii() else block.translate(_ASCII)
        offsets = _piece_offsets(text)
        pieces = [text[start:end] for start, end in pairwise(offsets)]
        series = pl.Series(pieces, dtype=pl.Binary).cast(pl.String)
        has_any = series.str.contains(self._any_word)
        found = [
            place + offsets[number]
            for number, places in zip(
                np.flatnonzero(has_any.to_numpy()).tolist(),
                series.filter(has_any).str.find_many(self._words).to_list(),
                strict=True,
            )
            for place in places
        ]
        return np.array(sorted(found), np.int64)


def _piece_offsets(text: bytes) -> list[int]:
    """Where pieces of whole lines begin, and the end."""
    offsets = [0]
    while offsets[-1] < len(text):
        end = text.find(b"\n", offsets[-1] + _PIECE_BYTES) + 1
        offsets.append(end or len(text))
    return offsets


def _near(positions: Positions, starts: Positions) -> Positions:
    """The lines of places that are near enough to a line's start to be examined."""
    lines = np.searchsorted(starts, positions, side="right") - 1
    return lines[positions - starts[lines] < LINE_BYTES_MAX]


def _cut(
    block: bytes, wanted: Positions, starts: Positions, ends: Positions
) -> Iterator[tuple[int, bytes]]:
    for number in wanted.tolist():
        start, end = int(starts[number]), int(ends[number])
        yield number, block[start : min(end, start + LINE_BYTES_MAX)]
