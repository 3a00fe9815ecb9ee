"""Write everything that a matrix leaves behind: results.parquet, junit.xml, summary.md, matrix.html."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from replay.errors import MatrixError
from replay.matrix.results import CellResult, results_table, write_results
from replay.matrix.store import MatrixStore
from replay.recording import write_text


def write_outputs(
    store: MatrixStore,
    head: Mapping[str, Any],
    results: Sequence[CellResult],
    junit: Path | None = None,
    markdown: Path | None = None,
) -> None:
    """Write all results into the matrix directory, and JUnit and Markdown where else they are wanted.

    results.parquet comes last: a directory that has one is finished.

    Raises:
        MatrixError: a file cannot be written.
    """
    table = results_table(store, results)
    results_path = store.directory / "results.parquet"
    xml = _made("reports.matrix.junit", "junit_xml", table, head)
    text = _made("reports.matrix.markdown", "matrix_markdown", table, head)
    try:
        for path in (store.directory / "junit.xml", *([junit] if junit else [])):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, xml)
        for path in (store.directory / "summary.md", *([markdown] if markdown else [])):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        _append_step_summary(text)
        write_results(results_path, table)
    except OSError as problem:
        where = problem.filename or store.directory
        raise MatrixError(f"cannot write {where}: {problem.strerror or problem}") from None
    try:
        _made("reports.matrix.page", "write_matrix_page", store.directory)
    except BaseException:
        results_path.unlink(missing_ok=True)
        raise


def _append_step_summary(text: str) -> None:
    """Show the Markdown on the page of a GitHub Actions job."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def _made(module: str, function: str, table: pa.Table | Path, *more: object) -> Any:
    # `reports` knows `replay`, not the other way round; a matrix writes reports all the same.
    return getattr(importlib.import_module(module), function)(table, *more)
