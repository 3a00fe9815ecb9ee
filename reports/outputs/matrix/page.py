"""The page of a matrix: a grid with a cell for each replay, offline, in one file.

    results.parquet, matrix.json -> cells -> layout -> template -> matrix.html

The grid is plain HTML whose cells are links; the page's script adds the filter, the keyboard and the
details of a cell, which lie in the page as JSON with every text in it once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from replay.errors import RecordingError
from reports.html import content_policy, environment, source, sources
from reports.outputs.matrix.cells import (
    AXES,
    LETTERS,
    MEANINGS,
    UNEXPECTED_MARK,
    Cell,
    Matrix,
    count_outcomes,
    expectation,
    fault_words,
    headline,
    read_cells,
    read_matrix,
    worst_first,
)
from reports.outputs.matrix.layout import TITLES, make_layout
from reports.words import VERDICTS, shown
from traces.text import shortened

if TYPE_CHECKING:
    import pyarrow as pa
    from markupsafe import Markup

#: Characters of one text about a cell; its report and results.parquet have all of it.
_TEXT_CHARACTERS_MAX = 2_000

#: Reports are files in a folder beside the page; any other address is not followed.
_REPORT = re.compile(r"cells/[^/\\:]+\.html")

#: Cells told of here; the grid has all of them.
DIFFERING_MAX = 60
#: Characters of a name and of a sentence here; a cell's details have all of it.
DIFFERING_CHARACTERS_MAX = 160


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
            name=shortened(cell.name, DIFFERING_CHARACTERS_MAX),
            state=cell.state,
            mark=cell.mark,
            outcome=cell.outcome,
            expected=shortened(expectation(cell, matrix), DIFFERING_CHARACTERS_MAX),
            happened=shortened(_happened(cell), DIFFERING_CHARACTERS_MAX),
            equation=shortened(cell.row["equation"] or "", DIFFERING_CHARACTERS_MAX),
            link=link(cell),
        )
        for cell in ranked[:DIFFERING_MAX]
    )
    return Differing(told, shown(len(told), len(ranked)))


def _happened(cell: Cell) -> str:
    """What came of it: why it failed, or else its verdict, or what broke it."""
    row = cell.row
    if row["verdict"] is None:
        return row["error"] or cell.outcome
    return row["because"] or f"{row['verdict']}: {row['why'] or ''}"


def render_matrix_page(results: pa.Table, matrix: Mapping[str, Any]) -> str:
    """The page as text.

    Raises:
        RecordingError: the table lacks a column.
    """
    about = read_matrix(matrix)
    cells = read_cells(results)
    script = sources(("templates/theme.js", "templates/copy.js", "outputs/matrix/matrix.js"))
    counts = Counter(cell.state for cell in cells)
    states = {state: counts[state] for state in LETTERS if counts[state]}
    return (
        environment()
        .get_template("outputs/matrix/matrix.html.j2")
        .render(
            matrix=about,
            headline=headline(cells, about),
            unexpected=sum(cell.is_unexpected for cell in cells),
            differing=make_differing(cells, about, _link),
            cells=cells,
            links=[_link(cell) for cell in cells],
            layout=make_layout(cells),
            titles=TITLES,
            outcomes=count_outcomes(cells),
            states=states,
            verdicts=VERDICTS,
            letters=LETTERS,
            meanings=MEANINGS,
            mark=UNEXPECTED_MARK,
            data=_data(cells, about),
            style=sources(("templates/report.css", "outputs/matrix/matrix.css")),
            dark=source("templates/dark.css"),
            script=script,
            policy=content_policy(script),
        )
    )


def read_results(directory: Path) -> pa.Table:
    """The rows of results.parquet.

    Raises:
        RecordingError: it is missing or broken.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = directory / "results.parquet"
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException):
        raise RecordingError(
            f"{path}: missing or not a Parquet file; make it with "
            "`kvreplay matrix run FILE --out DIR`"
        ) from None


def _link(cell: Cell) -> str | None:
    """Where the cell's own report is, as the page refers to it."""
    report = cell.row["report"]
    return quote(report) if report and _REPORT.fullmatch(report) else None


def _data(cells: Sequence[Cell], matrix: Matrix) -> Markup:
    """What the script knows of the cells: columns of places in one list of texts."""
    from markupsafe import Markup

    texts: dict[str, int] = {}
    columns: dict[str, list[int]] = {}
    for cell in cells:
        for name, text in _known(cell, matrix).items():
            place = texts.setdefault(shortened(text, _TEXT_CHARACTERS_MAX, lines=True), len(texts))
            columns.setdefault(name, []).append(place)
    document = json.dumps(
        {"texts": list(texts), "columns": columns}, ensure_ascii=False, separators=(",", ":")
    )
    # Without a less-than sign no text can end the script element or open a comment in it.
    return Markup(document.replace("<", "\\u003c"))


def _known(cell: Cell, matrix: Matrix) -> dict[str, str]:
    row = cell.row
    axes = {TITLES[axis]: cell.axis(axis) for axis in AXES}
    texts = {
        "name": cell.name,
        "outcome": cell.outcome,
        "state": cell.state,
        "because": row["because"],
        "expected": expectation(cell, matrix),
        "verdict": f"{row['verdict']}: {row['why'] or ''}" if row["verdict"] else "none",
        "kinds": row["kinds"],
        "equation": row["equation"],
        "faults": fault_words(row),
        "error": row["error"],
        "reproduce": row["reproduce"],
    }
    return {**{name: text or "" for name, text in texts.items()}, **axes}
