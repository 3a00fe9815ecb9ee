"""Read CSV one physical line at a time, so that a stray quote cannot swallow the rows after it.

The csv module takes everything up to the next quote as one cell, no matter how far away that is.
Here a cell may span several lines only if its column is not used (a prompt in a gateway's log), and
only up to a limit. Otherwise only that line is bad, and the next line is read normally.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from traces.formats.source import Line

#: Maximum number of lines that a quoted cell may span after its first.
CELL_LINES_MAX = 1000

# The csv module's message about a cell without a closing quote.
_QUOTE_IS_OPEN = "unexpected end of data"


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """One row; the first is the header.

    Attributes:
        line: the physical line on which it starts.
        cells: its cells, if there is no problem.
        problem: the problem, as the end of a sentence about the line, or an empty string.
    """

    line: Line
    cells: list[str] = field(default_factory=list)
    problem: str = ""


def iter_records(
    lines: Iterator[Line], used_columns: Collection[str] | None
) -> Iterator[CsvRecord]:
    """Yield the header and every row that is not blank, good and bad.

    Args:
        lines: the lines of the file.
        used_columns: columns whose cells contain no line end, unlike other columns; None: no cell does.
    """
    ahead = _Lookahead(lines)
    separator, names = ",", None
    while (line := ahead.take()) is not None:
        if not line.data.strip():
            continue
        try:
            text = _text_of(line)
            if names is None:
                separator = find_separator(text)
                names = split_header(text)
                yield CsvRecord(line, names)
                continue
            cells = _cells_of(line, text, ahead, separator, names, used_columns)
        except UnicodeDecodeError:
            yield CsvRecord(line, problem="is not UTF-8 text")
        except csv.Error as error:
            yield CsvRecord(line, problem=f"is not CSV ({error})")
        else:
            problem = ""
            if len(cells) != len(names):
                problem = f"has {len(cells)} cells where the header has {len(names)}"
            yield CsvRecord(line, cells, problem)


def find_separator(header: str) -> str:
    """Return the most frequent of comma, semicolon and tab in the header of a table."""
    return max(",;\t", key=header.count)


def split_header(header: str) -> list[str]:
    """Return the column names in the first line of a table.

    Raises:
        csv.Error: the line is not CSV.
    """
    return [cell.strip() for cell in _parse(header, find_separator(header))]


class _Lookahead:
    """Lines that can be put back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._back: deque[Line] = deque()

    def take(self) -> Line | None:
        return self._back.popleft() if self._back else next(self._lines, None)

    def put_back(self, lines: list[Line]) -> None:
        self._back.extendleft(reversed(lines))


def _cells_of(
    line: Line,
    text: str,
    ahead: _Lookahead,
    separator: str,
    names: list[str],
    used_columns: Collection[str] | None,
) -> list[str]:
    """Return the cells of a line and of the lines that an open quote continues on.

    Raises:
        csv.Error: it is not a row; the lines after it were put back.
    """
    try:
        return _parse(text, separator)
    except csv.Error as problem:
        if used_columns is None or _QUOTE_IS_OPEN not in str(problem):
            raise
        taken: list[Line] = []
        cells = _closed_cells(text, ahead, taken, separator)
        is_row = len(cells) == len(names) and not any(
            "\n" in cell for name, cell in zip(names, cells, strict=True) if name in used_columns
        )
        if is_row:
            return cells
        ahead.put_back(taken)
        raise


def _closed_cells(text: str, ahead: _Lookahead, taken: list[Line], separator: str) -> list[str]:
    """Read until the open quote is closed; return the cells, or none if it never is."""
    while len(taken) < CELL_LINES_MAX and (further := ahead.take()) is not None:
        taken.append(further)
        try:
            text += _text_of(further)
            if b'"' in further.data:
                return _parse(text, separator)
        except UnicodeDecodeError:
            break
        except csv.Error as problem:
            if _QUOTE_IS_OPEN not in str(problem):
                break
    return []


def _text_of(line: Line) -> str:
    return line.data.decode("utf-8").replace("\r\n", "\n")


def _parse(text: str, separator: str) -> list[str]:
    return next(csv.reader(io.StringIO(text), delimiter=separator, strict=True), [])
