"""The page of a matrix drawn anew from what its run left behind, and its Markdown where it is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from replay.errors import RecordingError
from replay.matrix.store import MatrixStore
from reports.outputs.together import Output, written_together
from traces.files.writing import write


def is_matrix(directory: Path) -> bool:
    """Whether a directory is that of a matrix, which `kvreplay matrix run --out` makes."""
    return (directory / "matrix.json").is_file() and not (directory / "run.json").exists()


def check_matrix(directories: Sequence[Path], paths: Sequence[Path]) -> None:
    """Make sure that it is one matrix, and that its page is to be where its cells are.

    Raises:
        RecordingError: there is more than the one matrix, or an output that a matrix does not have.
    """
    if len(directories) > 1:
        matrix = next(each for each in directories if is_matrix(each))
        raise RecordingError(
            f"{matrix}: is a matrix, and a matrix has a page of its own; name it alone"
        )
    [directory] = directories
    for path in paths:
        if path.suffix.lower() not in (".html", ".md"):
            raise RecordingError(f"{path}: a matrix can be drawn as .html or .md only")
        if path.suffix.lower() == ".html" and path.parent.resolve() != directory.resolve():
            raise RecordingError(
                f"{path}: the page of a matrix links to the pages of its cells, so it has to be in "
                f"{directory}"
            )


def default_page(directory: Path) -> Path:
    """Where a matrix has its page."""
    return directory / "matrix.html"


def write_matrix_outputs(directory: Path, outputs: Sequence[Output]) -> dict[str, Any]:
    """Draw a matrix as what is wanted; return what `--json` prints.

    Raises:
        RecordingError: its results cannot be read, or an output cannot be written.
        MatrixError: its matrix.json cannot be read.
    """
    from reports.outputs.matrix.cells import count_outcomes, read_cells
    from reports.outputs.matrix.markdown import matrix_markdown
    from reports.outputs.matrix.page import read_results, render_matrix_page

    head = MatrixStore(directory).head()
    results = read_results(directory)
    with written_together(outputs) as working:
        for output, path in zip(outputs, working, strict=True):
            make = render_matrix_page if output.kind == ".html" else matrix_markdown
            write(path, make(results, head))
    cells = read_cells(results)
    page = next((str(output.path) for output in outputs if output.kind == ".html"), None)
    return {
        "report": page,
        "cells": len(cells),
        "outcomes": dict(count_outcomes(cells)),
        "outputs": [
            {"path": str(output.path), "kind": output.kind.removeprefix(".")} for output in outputs
        ],
    }
