"""The cells of a matrix file as tests: what pytest collects, where a cell runs, what a failure says.

All cells of one pytest process run one at a time in one worker, which lives as long as the session.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from replay.commands.matrix.shared import draw_page
from replay.commands.options import LINE_CHARACTERS_MAX
from replay.errors import USER_ERRORS, ReplayError
from replay.matrix.expectations import Expectation, Judgement, judge_cell
from replay.matrix.jobs import CellJob, JobSettings, TraceOnDisk, make_job, make_traces
from replay.matrix.matrix import CheckedCell, check_cells, load_matrix
from replay.matrix.pool import LocalPool
from replay.matrix.run_one import cut_off_document, run_message
from replay.matrix.store import write_cell_document
from replay.pytest_plugin import SUFFIX
from replay.pytest_plugin.replayed import what_was_seen
from replay.run.matrix_file import MatrixSource
from traces.files.writing import make_folder, one_at_a_time
from traces.text import printable, shortened_lines

if TYPE_CHECKING:
    from replay.run.matrix_file import Budget


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


class CellSession:
    """Runs the cells of one pytest process, one at a time, in a worker that lives as long."""

    def __init__(self, config: pytest.Config) -> None:
        # The factory behind the fixture `tmp_path_factory`, which only functions can ask for.
        factory: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
        base = factory.getbasetemp()
        # Workers of pytest-xdist have folders beside each other.
        shared = base.parent if hasattr(config, "workerinput") else base
        self._root = config.rootpath
        self._traces_at = shared / "kvmatrix-traces"
        out = config.getoption("--kvmatrix-out")
        self._out = config.invocation_params.dir / out if out else base / "kvmatrix"
        self._reports: Literal["all", "none"] = "all" if out else "none"
        self._traces: dict[tuple[Path, str], TraceOnDisk] = {}
        self._pool: LocalPool | None = None
        self._budget: Budget | None = None

    def job(self, item: CellItem) -> CellJob:
        """The job of a cell; its trace is made if no cell before it had the same.

        Raises:
            MatrixError: the trace cannot be made.
        """
        cells = self._out / self._folder(item.path) / "cells"
        make_folder(cells)
        settings = JobSettings(cells=cells, reports=self._reports)
        return make_job(item.checked, item.expectation, self._trace(item), settings)

    def run(self, job: CellJob, budget: Budget) -> dict[str, Any]:
        """The document of a cell; what goes wrong with its process is in it.

        Raises:
            ReplayError: no process can be started.
        """
        try:
            (ended,) = self._pool_for(budget).run([(job.slug, job.to_message())])
        except BaseException:
            # Cut off from outside: whatever still runs is not to be met by the next cell.
            self.close()
            raise
        if ended.value is not None:
            return ended.value
        document = cut_off_document(ended, job)
        write_cell_document(Path(job.cells), job.slug, document)
        return document

    def close(self) -> None:
        """End the worker."""
        if self._pool is not None:
            self._pool.__exit__(None, None, None)
            self._pool = None

    def _pool_for(self, budget: Budget) -> LocalPool:
        """The worker, a new one where another file has another budget."""
        if self._pool is None or self._budget != budget:
            self.close()
            memory_bytes = None if budget.memory_mb is None else budget.memory_mb * 2**20
            self._pool = LocalPool(
                partial(run_message, draw_page), 1, cell_s=budget.cell_s, memory_bytes=memory_bytes
            ).__enter__()
            self._budget = budget
        return self._pool

    def _folder(self, path: Path) -> Path:
        """Where a file's cells go: as it lies under the root, or by a hash of where it is."""
        name = path.name.removesuffix(SUFFIX)
        if path.is_relative_to(self._root):
            return path.relative_to(self._root).with_name(name)
        return Path(f"{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}")

    def _trace(self, item: CellItem) -> TraceOnDisk:
        cell = item.checked.cell
        key = (item.path, cell.options.trace)
        if key not in self._traces:
            with one_at_a_time(self._traces_at):
                made = make_traces(item.source, [cell], self._traces_at)[cell.options.trace]
            self._traces[key] = dataclasses.replace(made, path=made.path.absolute())
        return self._traces[key]


_SESSION = pytest.StashKey[CellSession]()


def session_of(config: pytest.Config) -> CellSession:
    """The one of this pytest process, made when its first cell runs."""
    if _SESSION not in config.stash:
        config.stash[_SESSION] = CellSession(config)
        config.add_cleanup(config.stash[_SESSION].close)
    return config.stash[_SESSION]


def failure_text(
    item: CellItem, document: Mapping[str, Any], judgement: Judgement, cells: Path
) -> str:
    """Outcome, why, what was expected and where that stands, the equation, and how to repeat it."""
    expectation, facts = item.expectation, document["facts"]
    where = f"{item.source.path}:{expectation.line}" if expectation.line else "by default"
    lines = [f"{judgement.outcome}: {judgement.because}"]
    if facts is not None:
        lines.append(f"  verdict: {facts['verdict']}")
    lines.append(f"  expected: {expectation} ({where})")
    if facts is not None:
        lines += what_was_seen(
            facts["equation"],
            facts["engine_message"] or facts["engine_died_message"],
            facts["engine_check_fired"],
        )
    lines.append(f"  reproduce: {document['reproduce']}")
    slug = item.checked.cell.slug
    for what, path in (("recording", cells / slug), ("report", cells / f"{slug}.html")):
        if path.exists():
            lines.append(f"  {what}: {path}")
    return shortened_lines("\n".join(lines), LINE_CHARACTERS_MAX)
