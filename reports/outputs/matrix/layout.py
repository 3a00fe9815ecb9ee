"""Which axes of a matrix become rows of its page and which become columns.

Columns are the plans, under each plan the seeds when all of them fit; rows are the other axes that
vary, grouped by the first. A matrix of one plan has its longest other axis in the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.outputs.matrix.cells import AXES, COLUMN_AXES, PLACES, Cell

#: Columns that a grid may have before its seeds go into rows.
COLUMNS_MAX = 40

#: What an axis is called on the page.
TITLES = {axis: axis.replace("_", " ") for axis in AXES}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the grid: its values of the row axes that are no group, and the cells of each column."""

    values: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share the value of the first of several row axes; one row axis makes one group."""

    value: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading over so many columns."""

    value: str
    columns: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The grid as the template draws it; cells are their places in the list of cells."""

    column_axes: tuple[str, ...]
    row_axes: tuple[str, ...]
    #: A line of headings for each column axis, the last with one heading a column.
    headings: tuple[tuple[Heading, ...], ...]
    groups: tuple[Group, ...]
    #: Axes on which all cells agree, and on what.
    fixed: tuple[tuple[str, str], ...]


def make_layout(cells: Sequence[Cell]) -> Layout:
    """Arrange the cells; values stay in the order in which the cells first have them."""
    order = {axis: _order(cells, axis) for axis in AXES}
    varying = [axis for axis in PLACES if len(order[axis]) > 1]
    column_axes = _column_axes(varying, {axis: len(order[axis]) for axis in varying}, cells)
    row_axes = tuple(axis for axis in varying if axis not in column_axes)

    def key(cell: Cell, axes: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(order[axis][cell.place(axis)] for axis in axes)

    columns = sorted({key(cell, column_axes) for cell in cells})
    places: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for at, cell in enumerate(cells):
        places.setdefault((key(cell, row_axes), key(cell, column_axes)), []).append(at)
    values = {axis: list(order[axis]) for axis in AXES}
    groups: dict[str, list[Row]] = {}
    for row in sorted({row for row, _ in places}):
        named = [values[axis][at] for axis, at in zip(row_axes, row, strict=True)]
        found = tuple(tuple(places.get((row, column), ())) for column in columns)
        # One axis needs no groups: each would have one row.
        group, *rest = named if len(named) > 1 else ["", *named]
        groups.setdefault(group, []).append(Row(tuple(rest), found))
    return Layout(
        column_axes=column_axes,
        row_axes=row_axes,
        headings=_headings(column_axes, columns, values),
        groups=tuple(Group(value, tuple(rows)) for value, rows in groups.items()),
        fixed=tuple(
            (TITLES[axis], next(iter(order[axis])))
            for axis in PLACES
            if len(order[axis]) == 1 and next(iter(order[axis]))
        ),
    )


def _order(cells: Sequence[Cell], axis: str) -> dict[str, int]:
    values = dict.fromkeys(cell.place(axis) for cell in cells)
    return {value: at for at, value in enumerate(values)}


def _column_axes(
    varying: Sequence[str], sizes: dict[str, int], cells: Sequence[Cell]
) -> tuple[str, ...]:
    if not varying:
        return ()
    if "plan" not in varying:
        return (max(varying, key=lambda axis: sizes[axis] if sizes[axis] <= COLUMNS_MAX else 0),)
    pairs = len({(cell.place("plan"), cell.place("seed")) for cell in cells})
    if "seed" in varying and pairs <= COLUMNS_MAX:
        return COLUMN_AXES
    return ("plan",)


def _headings(
    axes: tuple[str, ...], columns: Sequence[tuple[int, ...]], values: dict[str, list[str]]
) -> tuple[tuple[Heading, ...], ...]:
    """Headings line by line; neighbours that share all values so far share a heading."""
    lines = []
    for depth, axis in enumerate(axes):
        spans: list[tuple[tuple[int, ...], int]] = []
        for column in columns:
            prefix = column[: depth + 1]
            if spans and spans[-1][0] == prefix:
                spans[-1] = (prefix, spans[-1][1] + 1)
            else:
                spans.append((prefix, 1))
        lines.append(tuple(Heading(values[axis][prefix[-1]], count) for prefix, count in spans))
    return tuple(lines)
