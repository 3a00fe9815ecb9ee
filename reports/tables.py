"""Tables as the page and Markdown show them: cells are text, a long table is cut and says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.words import shown

#: Rows shown of any one table; the Parquet files of the recording hold all of them.
ROWS_MAX = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading and whether its cells are numbers, which are set to the right."""

    title: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table as shown: cells are text, `of` counts all rows there are."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    of: int

    @property
    def shown(self) -> str:
        """How many rows are shown, of how many."""
        return shown(len(self.rows), self.of)


def make_table(caption: str, titles: str, rows: Iterable[Sequence[str]], of: int) -> Table:
    """Titles are separated by `|`; one that starts with `#` is a column of numbers."""
    columns = tuple(
        Column(title.strip().lstrip("#"), title.strip().startswith("#"))
        for title in titles.split("|")
    )
    return Table(caption, columns, tuple(tuple(row) for row in rows), of)
