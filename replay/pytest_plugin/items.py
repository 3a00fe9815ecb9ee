"""The cells of a matrix file as tests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from replay.commands.options import LINE_CHARACTERS_MAX
from replay.errors import USER_ERRORS, ReplayError
from replay.matrix.checks import CheckedCell, check_cells
from replay.matrix.expectations import Expectation, Judgement, judge_cell
from replay.matrix.file import MatrixSource
from replay.matrix.matrix import load_matrix
from replay.pytest_plugin.cell_text import failure_text
from replay.pytest_plugin.session import session_of
from traces.text import printable, shortened_lines


class CellFailedError(Exception):
    """A cell came to something else than was expected; its text is the whole report."""


def cells_of_file(file: pytest.File) -> Iterator[CellItem]:
    """Give one item per cell of a `*.kvmatrix.toml` file.

    Raises:
        CollectError: the file is wrong; with its line.
    """
    try:
        matrix = load_matrix(_as_typed(file.path, file.config))
        checked = check_cells(matrix.source, matrix.cells)
    except USER_ERRORS as problem:
        raise file.CollectError(shortened_lines(str(problem), LINE_CHARACTERS_MAX)) from None
    for warning in matrix.warnings:
        file.warn(pytest.PytestCollectionWarning(printable(warning)))
    for each in checked:
        yield CellItem.from_parent(
            file,
            name=printable(each.cell.name),
            source=matrix.source,
            checked=each,
            expectation=matrix.expectations[each.cell.name],
        )


def _as_typed(path: Path, config: pytest.Config) -> Path:
    """A path from where pytest was started: lines that reproduce a cell are pasted there."""
    start = config.invocation_params.dir
    if Path.cwd() != start or not path.is_relative_to(start):
        return path
    return Path(os.path.relpath(path, start))


class CellItem(pytest.Item):
    """One cell of a matrix: it passes when it comes to what is expected."""

    def __init__(
        self,
        *,
        source: MatrixSource,
        checked: CheckedCell,
        expectation: Expectation,
        **node: Any,
    ) -> None:
        super().__init__(**node)
        self.source, self.checked, self.expectation = source, checked, expectation
        self.add_marker(pytest.mark.kvmatrix)

    @property
    def line(self) -> int:
        """Where the file says what is expected, or else what asks for the cell; from 1."""
        return self.expectation.line or self.checked.cell.line or 1

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands, lines counted from 0, and what it is called."""
        return self.path, self.line - 1, self.name

    def runtest(self) -> None:
        """Run the cell in a process of its own kind, and judge it.

        Raises:
            CellFailedError: it is not as expected.
        """
        session = session_of(self.config)
        job = session.job(self)
        document = session.run(job, self.source.file.budget)
        judgement = judge_cell(document, self.expectation)
        self._note(document, judgement, Path(job.cells))
        if judgement.outcome != "passed":
            raise CellFailedError(failure_text(self, document, judgement, Path(job.cells)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What happened, without the frames of kvreplay where the cell is to blame or its file."""
        if not isinstance(excinfo.value, (CellFailedError, ReplayError, *USER_ERRORS)):
            return super().repr_failure(excinfo, style)
        shown = excinfo.getrepr(style="value")
        if shown.reprcrash is not None:
            # What the summary's lines and --tb=line show.
            shown.reprcrash.path = str(self.path)
            shown.reprcrash.lineno = self.line
            shown.reprcrash.message = str(excinfo.value).split("\n", 1)[0]
        return shown

    def _note(self, document: Mapping[str, Any], judgement: Judgement, cells: Path) -> None:
        """Properties of the test case in pytest's JUnit XML."""
        facts = document["facts"] or {}
        slug = self.checked.cell.slug
        properties = {
            "outcome": judgement.outcome,
            "verdict": facts.get("verdict"),
            "reproduce": document["reproduce"],
            "recording_sha256": facts.get("recording_sha256"),
            "recording": str(cells / slug) if (cells / slug).is_dir() else None,
            "report": str(cells / f"{slug}.html") if (cells / f"{slug}.html").is_file() else None,
        }
        self.user_properties += [
            (name, printable(text)) for name, text in properties.items() if text
        ]
