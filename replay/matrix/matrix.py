"""A matrix file with everything that follows from it: cells, expectations, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from replay.errors import MatrixError
from replay.matrix.cells import Cell, make_cells
from replay.matrix.checks import check_names
from replay.matrix.expectations import Expectation, find_expectations
from replay.matrix.file import MatrixSource, read_matrix_file

#: Shard `i` of `n`, from 1.
Shard = tuple[int, int]

SHARDS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is to be run, and what must come out."""

    source: MatrixSource
    cells: tuple[Cell, ...]
    #: By the name of the cell.
    expectations: Mapping[str, Expectation]
    warnings: tuple[str, ...]


def load_matrix(path: Path) -> Matrix:
    """Read a matrix file; what it names is looked for, but not opened yet.

    Raises:
        MatrixError: the file is wrong; the message names file, line and key.
    """
    return matrix_of(read_matrix_file(path), find_inputs=True)


def matrix_of(source: MatrixSource, *, find_inputs: bool) -> Matrix:
    """The matrix of a file that has been read.

    Args:
        source: the file.
        find_inputs: whether to look for the profiles, plans and traces that it names.

    Raises:
        MatrixError: it names what is not there, or its cells or expectations contradict each other.
    """
    warnings: list[str] = []
    cells = make_cells(source, warnings.append)
    if find_inputs:
        # Before expectations: a misspelt name is why they match nothing.
        check_names(source, cells)
    expectations = find_expectations(source, cells, warnings.append)
    return Matrix(source, cells, expectations, tuple(warnings))


def cells_of(matrix: Matrix, shard: Shard | None = None) -> tuple[Cell, ...]:
    """The cells of a matrix, or of one shard of it."""
    if shard is None:
        return matrix.cells
    return tuple(cell for cell in matrix.cells if cell.is_in_shard(shard))


def parse_shard(text: str) -> Shard:
    """Read `i/n`.

    Raises:
        MatrixError: it is not that, or there is no such shard.
    """
    index_text, slash, count_text = text.partition("/")
    if not (slash and index_text.isdecimal() and count_text.isdecimal()):
        raise MatrixError(f"--shard {text}: expected I/N, such as 1/3")
    index, count = int(index_text), int(count_text)
    if not 1 <= index <= count <= SHARDS_MAX:
        raise MatrixError(
            f"--shard {text}: shards are numbered from 1 to N, and N is at most {SHARDS_MAX}"
        )
    return index, count
