"""A matrix as Markdown, for `$GITHUB_STEP_SUMMARY` or a comment: the result, a grid, what broke.

Whatever comes from outside stands in code spans and fenced blocks (`reports.outputs.markdown`). GitHub
takes 1 MiB of all that a step writes; this stays well below and says what it left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.outputs.markdown import code, code_in_table, fenced, table_row
from reports.outputs.matrix.cells import (
    LETTERS,
    MEANINGS,
    UNEXPECTED_MARK,
    Cell,
    Matrix,
    count_outcomes,
    facts,
    headline,
    read_cells,
    read_matrix,
    worst_first,
)
from reports.words import counted, number
from traces.text import shortened

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes of the whole text: GitHub's limit is 1,048,576 for everything that one step writes.
BYTES_MAX = 900_000

#: What stays readable: the grid's size, and the unexpected cells told in full.
_GRID_COLUMNS_MAX = 12
_GRID_ROWS_MAX = 100
_TOLD_MAX = 50

#: Characters of one text about a cell, and of the line that reproduces it.
_TEXT_CHARACTERS_MAX = 4_000
_LINE_CHARACTERS_MAX = 16_000


def matrix_markdown(results: pa.Table, matrix: Mapping[str, Any]) -> str:
    """The results of a matrix as Markdown of at most `BYTES_MAX` bytes.

    Args:
        results: the rows of results.parquet.
        matrix: what matrix.json holds.

    Raises:
        RecordingError: the table lacks a column.
    """
    about = read_matrix(matrix)
    cells = read_cells(results)
    text = _head(cells, about) + _grid(cells)
    unexpected = worst_first(cells)
    if not unexpected:
        return text
    text += "### Not as expected\n\n"
    used, told = len(text.encode()), 0
    for cell in unexpected[:_TOLD_MAX]:
        block = _told(cell, about)
        used += len(block.encode())
        # A thousand bytes are kept for the sentence that says what was left out.
        if used > BYTES_MAX - 1_000:
            break
        text += block
        told += 1
    return text + _left_out(unexpected[told:])


def _head(cells: Sequence[Cell], matrix: Matrix) -> str:
    sign = UNEXPECTED_MARK if any(cell.is_unexpected for cell in cells) else "\N{CHECK MARK}"
    title = f"## {sign} {code(matrix.name)}: {headline(cells, matrix)}"
    lines = [title, "", "<!-- kvreplay.matrix/1 -->", ""]
    counts = count_outcomes(cells)
    if counts:
        words = (f"**{number(count)}** {_outcome(name)}" for name, count in counts.items())
        lines += [", ".join(words) + ".", ""]
    if matrix.file:
        lines += [f"Matrix file: {code(matrix.file)}", ""]
    return "\n".join(lines) + "\n"


def _outcome(name: str) -> str:
    """An outcome that this version knows is a word, any other one is somebody's text."""
    return name if re.fullmatch("[a-z-]{1,20}", name) else code(name)


def _grid(cells: Sequence[Cell]) -> str:
    """Profiles by plans, or plans by profiles when that is narrower; counts where cells share a place."""
    plans = _values(cells, "plan")
    profiles = _values(cells, "profile")
    rows, columns = ("profile", profiles), ("plan", plans)
    if len(plans) > len(profiles) and len(plans) > _GRID_COLUMNS_MAX:
        rows, columns = columns, rows
    if not cells:
        return ""
    if len(columns[1]) > _GRID_COLUMNS_MAX or len(rows[1]) > _GRID_ROWS_MAX:
        return (
            f"The grid of {counted(len(profiles), 'profile')} by {counted(len(plans), 'plan')} is "
            "left out; see `matrix.html`.\n\n"
        )
    places: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.place(rows[0]), cell.place(columns[0])), []).append(cell)
    lines = [
        table_row([f"{rows[0]} \\ {columns[0]}", *(code_in_table(value) for value in columns[1])]),
        table_row(["---", *(":---:" for _ in columns[1])]),
    ]
    for value in rows[1]:
        entries = (_entry(places.get((value, column), [])) for column in columns[1])
        lines.append(table_row([code_in_table(value), *entries]))
    return "\n".join([*lines, "", _legend(cells), "", ""])


def _values(cells: Iterable[Cell], axis: str) -> list[str]:
    """The values of an axis, in the order in which the cells have them."""
    return list(dict.fromkeys(cell.place(axis) for cell in cells))


def _entry(cells: Sequence[Cell]) -> str:
    """`C` for one cell, `8 C, 2 ✗P` for ten; unexpected ones in bold."""
    counts = Counter((cell.is_unexpected, cell.mark) for cell in cells)
    parts = []
    for (unexpected, mark), count in sorted(counts.items()):
        text = mark if len(cells) == 1 else f"{number(count)} {mark}"
        parts.append(f"**{text}**" if unexpected else text)
    return ", ".join(parts)


def _legend(cells: Iterable[Cell]) -> str:
    used = {cell.state for cell in cells}
    words = [f"{LETTERS[state]} {MEANINGS[state]}" for state in LETTERS if state in used]
    return f"{', '.join(words)}. {UNEXPECTED_MARK} not as expected."


def _told(cell: Cell, matrix: Matrix) -> str:
    """One unexpected cell: its name, what is known of it, and the line that reproduces it."""
    known = "\n".join(
        f"{name}: {shortened(text, _TEXT_CHARACTERS_MAX, lines=True)}"
        for name, text in facts(cell, matrix)
    )
    return (
        f"#### {cell.mark} {code(cell.name)}\n\n{fenced(known, 'text')}"
        f"To reproduce it:\n\n{_again(cell.row['reproduce'])}"
    )


def _again(line: str | None) -> str:
    """The line that reproduces a cell: whole or not at all, for it is to be pasted into a shell."""
    if not line:
        return "Not recorded.\n\n"
    if len(line) > _LINE_CHARACTERS_MAX:
        return "The command is too long to show; see `results.parquet`.\n\n"
    return fenced(line, "sh")


def _left_out(cells: Sequence[Cell]) -> str:
    if not cells:
        return ""
    counts = count_outcomes(cells)
    words = ", ".join(f"{number(count)} {_outcome(name)}" for name, count in counts.items())
    return (
        f"{counted(len(cells), 'more cell')} not as expected left out ({words}); see `matrix.html`, "
        "`junit.xml` or `results.parquet` for all of them.\n"
    )
