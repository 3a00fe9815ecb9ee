"""The cells that went other than expected, which the page of a matrix shows first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.outputs.matrix.cells import Cell, Matrix, expectation, worst_first
from reports.words import shown
from traces.text import shortened

#: Cells told of here; the grid has all of them.
SHOWN_MAX = 60
#: Characters of a name and of a sentence here; a cell's details have all of it.
CHARACTERS_MAX = 160


@dataclass(frozen=True, slots=True)
class DifferingCell:
    """One cell that went other than expected, in words."""

    name: str
    state: str
    mark: str
    outcome: str
    expected: str
    happened: str
    equation: str
    link: str | None


@dataclass(frozen=True, slots=True)
class Differing:
    """The cells shown, the worst first, and of how many."""

    cells: tuple[DifferingCell, ...]
    shown: str


def make_differing(
    cells: Sequence[Cell], matrix: Matrix, link: Callable[[Cell], str | None]
) -> Differing | None:
    """What differs from expectation; None where nothing does."""
    ranked = worst_first(cells)
    if not ranked:
        return None
    told = tuple(
        DifferingCell(
            name=shortened(cell.name, CHARACTERS_MAX),
            state=cell.state,
            mark=cell.mark,
            outcome=cell.outcome,
            expected=shortened(expectation(cell, matrix), CHARACTERS_MAX),
            happened=shortened(_happened(cell), CHARACTERS_MAX),
            equation=shortened(cell.row["equation"] or "", CHARACTERS_MAX),
            link=link(cell),
        )
        for cell in ranked[:SHOWN_MAX]
    )
    return Differing(told, shown(len(told), len(ranked)))


def _happened(cell: Cell) -> str:
    """What came of it: why it failed, or else its verdict, or what broke it."""
    row = cell.row
    if row["verdict"] is None:
        return row["error"] or cell.outcome
    return row["because"] or f"{row['verdict']}: {row['why'] or ''}"
