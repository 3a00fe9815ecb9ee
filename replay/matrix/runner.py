"""Run the cells of a matrix that are not done yet, then judge all of them and write the results.

checked cells -> make traces -> jobs -> pool -> store -> judge -> outputs
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from replay.errors import MatrixError
from replay.matrix.cells import Cell
from replay.matrix.expectations import judge_cell
from replay.matrix.jobs import CellJob, JobSettings, make_job, make_traces
from replay.matrix.matrix import CheckedCell, Matrix, Shard
from replay.matrix.pool import Pool
from replay.matrix.results import CellResult, Writers, judge_stored, write_outputs
from replay.matrix.run_one import cut_off_document
from replay.matrix.store import MatrixStore, write_cell_document
from replay.recording.file_kinds import MADE_TRACES
from traces.files.place import Place, remove


class Watcher(Protocol):
    """Sees a matrix run."""

    def begin(self, left: int, done: int) -> None:
        """So many cells are to be run, and so many were done before."""

    def ended(self, result: CellResult, running: int) -> None:
        """A cell has ended, and so many are under way."""


class OutOfTimeError(MatrixError):
    """The matrix used up its time before every cell was run; it can be resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How a matrix is to be run."""

    writers: Writers
    shard: Shard | None = None
    device: str = "auto"
    reports: Any = "all"
    keep: Any = "all"
    #: Whether cells that timed out, crashed or ran out of memory run again.
    retry: bool = False
    junit: Place | None = None
    markdown: Place | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """All results of a matrix, and how many cells were run for them now."""

    results: tuple[CellResult, ...]
    ran: int


def run_matrix(
    matrix: Matrix,
    checked: Sequence[CheckedCell],
    store: MatrixStore,
    pool: AbstractContextManager[Pool],
    plan: RunPlan,
    watcher: Watcher,
) -> Finished:
    """Run what is not done of these cells, and write all results.

    Raises:
        MatrixError: a cell of the matrix cannot be run at all, or the time for the whole is used up.
    """
    cells = [each.cell for each in checked]
    with pool as running:
        jobs = make_jobs(matrix, checked, store, plan)
        head = store.write_head(matrix.source, len(cells), plan.shard)
        store.sweep({cell.slug for cell in cells})
        to_do = [
            job
            for cell in cells
            if (job := _what_is_left(store, jobs[cell.slug], plan.retry)) is not None
        ]
        watcher.begin(len(to_do), len(cells) - len(to_do))
        by_slug = {cell.slug: cell for cell in cells}
        ended = _run_all(matrix, store, running, to_do, by_slug, watcher)
    if ended < len(to_do):
        raise OutOfTimeError(
            f"{store.directory}: the budget of {matrix.source.file.budget.total_s:g} s for the "
            f"whole matrix is used up; {len(to_do) - ended} of {len(cells)} cells did not run, go on "
            "with --resume"
        )
    ran = sum(job.done is None for job in to_do)
    return finish_matrix(matrix, store, head, cells, plan, ran)


def finish_matrix(
    matrix: Matrix,
    store: MatrixStore,
    head: Mapping[str, Any],
    cells: Sequence[Cell],
    plan: RunPlan,
    ran: int,
) -> Finished:
    """Judge all cells, which are done, and write the results."""
    store.sweep({cell.slug for cell in cells})
    results = judge_stored(store, cells, matrix.expectations)
    if len(results) != len(cells):
        raise MatrixError(
            f"{store.directory}: {len(cells) - len(results)} cells vanished while the matrix ran"
        )
    write_outputs(store, head, results, plan.writers, plan.junit, plan.markdown)
    remove(store.traces, MADE_TRACES)
    return Finished(tuple(results), ran)


def make_jobs(
    matrix: Matrix, checked: Sequence[CheckedCell], store: MatrixStore, plan: RunPlan
) -> dict[str, CellJob]:
    """The job of every cell, by slug; makes the traces that the file describes.

    Raises:
        MatrixError: a trace cannot be read or made.
    """
    cells = [each.cell for each in checked]
    traces = make_traces(matrix.source, cells, store.traces)
    settings = JobSettings(
        cells=store.cells, device=plan.device, reports=plan.reports, keep=plan.keep
    )
    return {
        each.cell.slug: make_job(
            each, matrix.expectations[each.cell.name], traces[each.cell.options.trace], settings
        )
        for each in checked
    }


def _what_is_left(store: MatrixStore, job: CellJob, retry: bool) -> CellJob | None:
    """The job, or only to draw a page that is wanted by now; None if the cell is done."""
    document = store.document(job.slug)
    if document is None or document["fingerprint"] != job.fingerprint:
        return job
    if document["state"] != "finished":
        return job if retry else None
    is_expected = judge_cell(document, job.expectation).outcome == "passed"
    has_recording = store.recording(job.slug).is_dir()
    if job.wants(job.keep, is_expected) and not has_recording:
        return job
    has_page = store.page(job.slug).is_file() and (is_expected or document["charts"])
    if has_page or not job.wants(job.reports, is_expected):
        return None
    return replace(job, done=document) if has_recording else job


def _run_all(
    matrix: Matrix,
    store: MatrixStore,
    pool: Pool,
    jobs: Sequence[CellJob],
    cells: Mapping[str, Cell],
    watcher: Watcher,
) -> int:
    """Run jobs, store what workers could not, and return how many ended."""
    by_slug = {job.slug: job for job in jobs}
    ran = 0
    total_s = matrix.source.file.budget.total_s
    until = None if total_s is None else time.monotonic() + total_s
    for ended in pool.run(((job.slug, job.to_message()) for job in jobs), until):
        job, cell = by_slug[ended.key], cells[ended.key]
        document = ended.value
        if document is None and job.done is not None:
            # There is a result, if no page.
            document = dict(job.done)
        elif document is None:
            document = cut_off_document(ended, job)
            write_cell_document(store.cells, job.slug, document)
        ran += 1
        result = CellResult(cell, document, job.expectation, judge_cell(document, job.expectation))
        # Whoever ended this cell begins the next at once.
        watcher.ended(result, min(pool.running() + 1, len(jobs) - ran))
    return ran
