"""What the cells of one pytest session share: a worker, traces, and places for recordings."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from replay.matrix.jobs import CellJob, JobSettings, TraceOnDisk, make_job
from replay.matrix.run_one import cut_off_document, run_message
from replay.matrix.store import write_cell_document
from replay.matrix.traces import make_traces
from replay.matrix.workers.local_pool import LocalPool
from replay.pytest_plugin.plugin import SUFFIX
from traces.files.writing import make_folder, one_at_a_time

if TYPE_CHECKING:
    from replay.matrix.file import Budget
    from replay.pytest_plugin.items import CellItem


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
                run_message, 1, cell_s=budget.cell_s, memory_bytes=memory_bytes
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
