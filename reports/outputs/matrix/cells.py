"""The cells of a matrix as JUnit, Markdown and the page tell of them: the same words in all three.

Every text comes out printable, which XML 1.0 can hold, so that one and the same text is in all of
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from replay.errors import RecordingError
from replay.matrix.results_schema import AXIS_COLUMNS, DRAWN, OUTCOMES, RESULTS_SCHEMA
from reports.words import counted, number
from traces.text import all_printable, shortened

if TYPE_CHECKING:
    import pyarrow as pa

#: The axes of the grid's columns where they vary.
COLUMN_AXES = ("plan", "seed")

#: The columns that say which cell it is, as the page and the grid order them.
AXES = (*(name for name in AXIS_COLUMNS if name not in COLUMN_AXES), "swarm", *COLUMN_AXES)

#: Axes on which cells are told apart in a table; whether one is a swarm cell, its plan says.
PLACES = tuple(axis for axis in AXES if axis != "swarm")

#: What a cell is marked with: the letter of its verdict, or of what kept it from one.
LETTERS = {
    "clean": "C",
    "transient": "T",
    "persistent": "P",
    "inconclusive": "?",
    "timed-out": "H",
    "out-of-memory": "M",
    "crashed": "X",
}

#: What the letters mean, in the order of a legend.
MEANINGS = {
    "clean": "clean",
    "transient": "transient: healed",
    "persistent": "persistent: never healed",
    "inconclusive": "inconclusive: cannot tell",
    "timed-out": "hung: out of time",
    "out-of-memory": "out of memory",
    "crashed": "crashed",
}

#: Marks a cell that went other than expected, whatever its letter.
UNEXPECTED_MARK = "\N{BALLOT X}"

#: Outcomes that leave a cell without a verdict to speak of.
_NO_VERDICT = frozenset({"timed-out", "out-of-memory", "crashed"})

#: Characters of a cell's name; those of a run are no longer than their paths.
_NAME_CHARACTERS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is said of the matrix as a whole; a text is empty and a count None where nothing is known."""

    name: str
    file: str
    sha256: str
    shard: str
    cells: int | None
    kvreplay: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of results.parquet: its columns by name, and what follows from them."""

    row: Mapping[str, Any]
    name: str
    outcome: str
    #: A key of LETTERS.
    state: str

    @property
    def is_unexpected(self) -> bool:
        """Whether it went other than expected, or tested nothing."""
        return self.outcome != "passed"

    @property
    def letter(self) -> str:
        """The letter of its verdict, or of what kept it from one."""
        return LETTERS.get(self.state, "?")

    @property
    def mark(self) -> str:
        """Its letter, marked when it is unexpected."""
        return UNEXPECTED_MARK + self.letter if self.is_unexpected else self.letter

    def axis(self, name: str) -> str:
        """Which value of an axis it has, as text; empty where it has none."""
        value = self.row[name]
        if isinstance(value, bool):
            return "yes" if value else "no"
        return "" if value is None else str(value)

    def place(self, name: str) -> str:
        """Where on an axis it stands in a table: what a seed has drawn is no value of an axis."""
        if self.row["swarm"] and name in DRAWN:
            return DRAWN[name]
        return self.axis(name)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that it took, 0 where that is unknown."""
        value = self.row["timing_cell_s"]
        # NaN compares false with everything.
        return value if value is not None and 0 <= value < 1e9 else 0.0


def read_cells(results: pa.Table) -> list[Cell]:
    """The cells, in the order of the table.

    Raises:
        RecordingError: the table lacks a column.
    """
    missing = [name for name in RESULTS_SCHEMA.names if name not in results.column_names]
    if missing:
        raise RecordingError(f"not a table of results: it has no column {missing[0]}")
    return [_cell(row) for row in results.to_pylist()]


def _cell(row: dict[str, Any]) -> Cell:
    clean = all_printable(row)
    outcome = clean["outcome"] or "crashed"
    state = outcome if outcome in _NO_VERDICT else clean["verdict"] or "inconclusive"
    name = shortened(clean["cell"] or "", _NAME_CHARACTERS_MAX, lines=True)
    return Cell(row=clean, name=name, outcome=outcome, state=state)


def read_matrix(matrix: Mapping[str, Any]) -> Matrix:
    """What matrix.json says; `file` is a path, or an object with `path` and `sha256`."""
    file = matrix.get("file")
    path, sha256 = file, matrix.get("sha256")
    if isinstance(file, Mapping):
        path, sha256 = file.get("path"), file.get("sha256", sha256)
    cells = matrix.get("cells")
    return Matrix(
        name=_text(matrix.get("name")) or "matrix",
        file=_text(path),
        sha256=_text(sha256),
        shard=_text(matrix.get("shard")),
        cells=cells if isinstance(cells, int) else None,
        kvreplay=_text(matrix.get("kvreplay")),
    )


def _text(value: object) -> str:
    return shortened(value, _NAME_CHARACTERS_MAX, lines=True) if isinstance(value, str) else ""


def expectation(cell: Cell, matrix: Matrix) -> str:
    """What was expected of it, with the file and line that say so."""
    expected = cell.row["expected"] or "no expectation"
    line = cell.row["expected_line"]
    return expected if line is None else f"{expected} ({matrix.file or 'line'}:{line})"


def facts(cell: Cell, matrix: Matrix) -> list[tuple[str, str]]:
    """What is told of a cell, as name and text; the line that reproduces it is not among them."""
    row = cell.row
    told = [
        ("outcome", cell.outcome),
        ("because", row["because"]),
        ("expected", expectation(cell, matrix)),
        ("verdict", _verdict(row)),
        ("equation", row["equation"]),
        ("engine message", row["engine_message"]),
        ("engine died", row["engine_died_message"]),
        ("faults", fault_words(row)),
        ("error", row["error"]),
    ]
    return [(name, text) for name, text in told if text]


def _verdict(row: Mapping[str, Any]) -> str | None:
    if row["verdict"] is None:
        return None
    extras = [row["kinds"], row["growth"] and f"growth {row['growth']}"]
    also = "; ".join(extra for extra in extras if extra)
    why = f": {row['why']}" if row["why"] else ""
    return f"{row['verdict']}{why}" + (f" ({also})" if also else "")


def fault_words(row: Mapping[str, Any]) -> str | None:
    """How the faults of a cell fared, or None where that is unknown."""
    if row["faults_planned"] is None:
        return None
    text = f"{number(row['faults_landed'] or 0)} landed of {number(row['faults_planned'])} planned"
    if row["faults_observed"] is not None:
        text += f", {number(row['faults_observed'])} observed"
    for column, what in (
        ("rules_never_fired", "never fired"),
        ("rules_without_effect", "fired without effect"),
    ):
        if rules := row[column]:
            text += f"; {what}: {', '.join(str(rule) for rule in rules)}"
    return text


def count_outcomes(cells: Iterable[Cell]) -> dict[str, int]:
    """How many cells have each outcome, the best first; outcomes of none are left out."""
    counts = Counter(cell.outcome for cell in cells)
    known = [outcome for outcome in OUTCOMES if counts[outcome]]
    return {outcome: counts[outcome] for outcome in (*known, *sorted(set(counts) - set(known)))}


def headline(cells: Sequence[Cell], matrix: Matrix) -> str:
    """The result in a few words, such as `3 of 120 cells not as expected`."""
    unexpected = sum(cell.is_unexpected for cell in cells)
    some = f" of shard {matrix.shard}" if matrix.shard else ""
    if not cells:
        return f"no cells{some}"
    if not unexpected:
        return f"{counted(len(cells), 'cell')}{some}, all as expected"
    return f"{number(unexpected)} of {counted(len(cells), 'cell')}{some} not as expected"


def worst_first(cells: Iterable[Cell]) -> list[Cell]:
    """The unexpected cells: those without a verdict, then the failed, then the inconclusive."""
    rank = {outcome: -place for place, outcome in enumerate(OUTCOMES)}
    unexpected = [cell for cell in cells if cell.is_unexpected]
    return sorted(unexpected, key=lambda cell: rank.get(cell.outcome, -len(rank)))
