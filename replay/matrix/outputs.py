"""Write everything that a matrix leaves behind: results.parquet, junit.xml, summary.md, matrix.html."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.matrix.results import CellResult, results_table
from replay.matrix.store import MatrixStore
from replay.recording.file_kinds import MATRIX
from traces.files.place import Place, hold, remove
from traces.files.writing import append, create


def write_outputs(
    store: MatrixStore,
    head: Mapping[str, Any],
    results: Sequence[CellResult],
    junit: Place | None = None,
    markdown: Place | None = None,
) -> None:
    """Write all results into the matrix directory, and JUnit and Markdown where else they are wanted.

    results.parquet comes last: a directory that has one is finished.

    Raises:
        OutputError: a file cannot be written.
    """
    table = results_table(store, results)
    xml = _made("reports.outputs.matrix.junit", "junit_xml", table, head)
    text = _made("reports.outputs.matrix.markdown", "matrix_markdown", table, head)
    for name, content, elsewhere in (("junit.xml", xml, junit), ("summary.md", text, markdown)):
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
    try:
        _made("reports.outputs.matrix.page", "write_matrix_page", store.directory)
    except BaseException:
        remove(store.directory / "results.parquet", MATRIX.entries["results.parquet"])
        raise


def _append_step_summary(text: str) -> None:
    """Show the Markdown on the page of a GitHub Actions job."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        append(Path(path), text)


def _made(module: str, function: str, table: pa.Table | Path, *more: object) -> Any:
    # `reports` knows `replay`, not the other way round; a matrix writes reports all the same.
    return getattr(importlib.import_module(module), function)(table, *more)
