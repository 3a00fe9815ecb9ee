"""The results of a matrix: a row of results.parquet for each cell, and the files made of the rows.

A row follows from a cell's stored document and its expectation.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from replay.matrix.cells import Cell
from replay.matrix.expectations import Expectation, Judgement, judge_cell
from replay.matrix.results_schema import OUTCOMES, RESULTS_SCHEMA, RESULTS_SCHEMA_NAME
from replay.matrix.store import MatrixStore
from replay.recording.file_kinds import MATRIX
from replay.run.matrix_axes import AXES
from traces.files.place import Place, hold
from traces.files.writing import append, create


@dataclass(frozen=True, slots=True)
class CellResult:
    """A cell, what is stored of it, and what that means."""

    cell: Cell
    document: Mapping[str, Any]
    expectation: Expectation
    judgement: Judgement

    @property
    def is_expected(self) -> bool:
        """Whether there is nothing to look at."""
        return self.judgement.outcome == "passed"


def judge_stored(
    store: MatrixStore, cells: Sequence[Cell], expectations: Mapping[str, Expectation]
) -> list[CellResult]:
    """The results of all cells that are done, in their order."""
    results = []
    for cell in cells:
        document = store.document(cell.slug)
        if document is not None:
            expectation = expectations[cell.name]
            judgement = judge_cell(document, expectation)
            results.append(CellResult(cell, document, expectation, judgement))
    return results


def results_table(store: MatrixStore, results: Sequence[CellResult]) -> pa.Table:
    """The table of all results."""
    rows = [result_row(store, result) for result in results]
    schema = RESULTS_SCHEMA.with_metadata({"schema": RESULTS_SCHEMA_NAME})
    return pa.Table.from_pylist(rows, schema)


def result_row(store: MatrixStore, result: CellResult) -> dict[str, Any]:
    """One row of results.parquet."""
    cell, document = result.cell, result.document
    facts = document["facts"]
    recording, page = store.recording(cell.slug), store.page(cell.slug)
    timing = document["timing"]
    return {
        **dict.fromkeys(RESULTS_SCHEMA.names),
        **_which(cell, facts),
        "outcome": result.judgement.outcome,
        "because": result.judgement.because,
        "expected": str(result.expectation),
        "expected_line": result.expectation.line,
        **({} if facts is None else _what_happened(facts)),
        "error": document["error"],
        "recording": f"cells/{cell.slug}" if recording.is_dir() else None,
        "report": f"cells/{cell.slug}.html" if page.is_file() else None,
        "recording_sha256": None if facts is None else facts["recording_sha256"],
        "reproduce": document["reproduce"],
        "timing_replay_s": timing["replay_s"],
        "timing_cell_s": timing["cell_s"],
        "timing_worker": timing.get("worker"),
    }


def _which(cell: Cell, facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Which cell; where the file leaves profile fields alone, those of the profile."""
    profile = cell.options.make_profile().to_dict()
    values: dict[str, Any] = {}
    for name, axis in AXES.items():
        value: Any = cell.axes[name]
        if not value and axis.fields is not None:
            value = axis.fields.from_profile(profile)
        values[name] = value if axis.column == "string" else int(value)
    if cell.options.swarm:
        # Drawn when the cell ran.
        values["topology"] = None if facts is None else facts["topology"]
    return {"number": cell.number, "cell": cell.name, **values, "swarm": cell.options.swarm}


#: Columns that are facts of the same name.
_SAME = (
    "verdict",
    "why",
    "growth",
    "gap_tokens_max",
    "heal_us_max",
    "equation",
    "engine_message",
    "engine_check_fired",
    "engine_died_message",
    "episodes",
    "episodes_open",
    "faults_planned",
    "faults_landed",
    "faults_observed",
    "rules_never_fired",
    "rules_without_effect",
    "audits",
    "virtual_us",
)


def _what_happened(facts: Mapping[str, Any]) -> dict[str, Any]:
    mismatch: Mapping[str, Any] = facts["mismatch"] or {}
    kinds = ", ".join(f"{kind} {pages}" for kind, pages in facts["kinds"].items())
    return {
        **{name: facts[name] for name in _SAME},
        "kinds": kinds,
        "pool": mismatch.get("pool"),
        "available_tokens": mismatch.get("available"),
        "evictable_tokens": mismatch.get("evictable"),
        "protected_tokens": mismatch.get("protected"),
        "total_pool_tokens": mismatch.get("total"),
        "gap_tokens": mismatch.get("gap"),
        **{f"requests_{name}": count for name, count in facts["requests"].items()},
    }


def count_outcomes(results: Sequence[CellResult]) -> dict[str, int]:
    """How many cells had each outcome, the best first."""
    counts = Counter(result.judgement.outcome for result in results)
    return {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]}


def exit_code_of(results: Sequence[CellResult]) -> int:
    """The command line's exit code, by the worst cell."""
    outcomes = {result.judgement.outcome for result in results}
    if outcomes & {"timed-out", "out-of-memory", "crashed"}:
        return 4
    return 1 if "failed" in outcomes else 3 if "inconclusive" in outcomes else 0


class Writers(Protocol):
    """Makes the documents of a matrix: `reports` knows `replay`, so a verb hands these in."""

    def junit(self, results: pa.Table, head: Mapping[str, Any]) -> str:
        """JUnit XML."""

    def markdown(self, results: pa.Table, head: Mapping[str, Any]) -> str:
        """A summary for the page of a CI job or a pull request."""

    def page(self, results: pa.Table, head: Mapping[str, Any]) -> str:
        """One HTML page of all cells."""


def write_outputs(
    store: MatrixStore,
    head: Mapping[str, Any],
    results: Sequence[CellResult],
    writers: Writers,
    junit: Place | None = None,
    markdown: Place | None = None,
) -> None:
    """Write all results into the matrix directory, and JUnit and Markdown where else they are wanted.

    results.parquet comes last: a directory that has one is finished.

    Raises:
        OutputError: a file cannot be written.
    """
    table = results_table(store, results)
    text = writers.markdown(table, head)
    for name, content, elsewhere in (
        ("junit.xml", writers.junit(table, head), junit),
        ("summary.md", text, markdown),
        ("matrix.html", writers.page(table, head), None),
    ):
        with hold(store.directory / name, MATRIX.entries[name]) as place:
            place.write(content)
        if elsewhere is not None:
            elsewhere.write(content)
    _append_step_summary(text)
    with hold(store.directory / "results.parquet", MATRIX.entries["results.parquet"]) as place:
        working = place.file()
        with create(working) as file:
            pq.write_table(table, file, compression="zstd")
        place.put(working)


def _append_step_summary(text: str) -> None:
    """Show the Markdown on the page of a GitHub Actions job."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        append(Path(path), text)
