"""`kvreplay matrix run`: run every cell of a matrix file."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.commands.matrix.shared import (
    JSON,
    SHARD,
    ReportWriters,
    draw_page,
    hold_results,
    output_options,
    print_results,
    print_results_json,
    print_warnings,
)
from replay.commands.options import DEVICE, example, inputs_of, say, show_path

if TYPE_CHECKING:
    from replay.matrix.pool import Pool
    from replay.run.matrix_file import Budget

_WHICH = click.Choice(["all", "unexpected", "none"])


@click.command(
    epilog=example(
        "kvreplay matrix run examples/fault-matrix.kvmatrix.toml --out M --junit junit.xml"
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--jobs", type=click.IntRange(1, 1024), help="Cells at a time. [default: number of cores]"
)
@SHARD
@click.option(
    "--executor",
    default="local",
    show_default=True,
    metavar="local|dask://HOST:PORT",
    help="Run the cells in local processes, or on the workers of a Dask cluster.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("matrix-out"),
    show_default=True,
    metavar="M",
    help="Directory of all results; a finished matrix there is replaced.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue in M: run only the cells that are not done or have changed.",
)
@click.option("--restart", is_flag=True, help="Discard the matrix in M and start again.")
@click.option("--force", is_flag=True, help="Discard a different matrix in M as well.")
@click.option(
    "--retry",
    is_flag=True,
    help="With --resume: run the cells again that crashed, hung or ran out of memory.",
)
@output_options
@click.option(
    "--keep",
    type=_WHICH,
    default="all",
    show_default=True,
    help="Keep the recordings of these cells.",
)
@click.option(
    "--reports",
    type=_WHICH,
    default="all",
    show_default=True,
    help="Draw the pages of these cells.",
)
@DEVICE
@JSON
def run(
    file: Path,
    jobs: int | None,
    shard: str | None,
    executor: str,
    out: Path,
    resume: bool,
    restart: bool,
    force: bool,
    retry: bool,
    junit: Path | None,
    markdown: Path | None,
    keep: str,
    reports: str,
    device: str,
    as_json: bool,
) -> int:
    """Run every cell of the matrix FILE and check it against its expectation.

    Exit codes, by the worst cell: 0 all as expected, 1 another verdict than expected, 2 bad input,
    3 inconclusive or not tested, 4 a cell crashed, hung or ran out of memory.
    """
    if resume and restart:
        raise click.UsageError("--resume and --restart exclude each other")
    if retry and not resume:
        raise click.UsageError("--retry goes with --resume: it says what else runs again")
    _check_executor(executor, jobs)
    from replay.matrix.matrix import cells_of, check_cells, load_matrix, parse_shard

    chosen = None if shard is None else parse_shard(shard)
    matrix = load_matrix(file)
    cells = cells_of(matrix, chosen)
    # Before a directory is made or a process started.
    checked = check_cells(matrix.source, cells)
    from replay.commands.matrix.progress import watching
    from replay.matrix.pool import core_count
    from replay.matrix.results import exit_code_of
    from replay.matrix.runner import OutOfTimeError, RunPlan, run_matrix
    from replay.matrix.store import Mode, open_store

    mode: Mode = "resume" if resume else "restart" if restart else "new"
    named = {name for cell in cells for name in (cell.options.trace, cell.options.plan)}
    reads = inputs_of(file, *sorted(filter(None, named)))
    with (
        hold_results(out, junit, markdown, reads) as (junit_place, markdown_place),
        open_store(out, mode, chosen, matrix.source, reads=reads, force=force) as (store, lock),
    ):
        print_warnings(matrix.warnings)
        plan = RunPlan(
            writers=ReportWriters(),
            shard=chosen,
            device=device,
            reports=reports,
            keep=keep,
            retry=retry,
            junit=junit_place,
            markdown=markdown_place,
        )
        jobs = min(jobs or core_count(), len(cells))
        pool = _pool(executor, jobs, matrix.source.file.budget, lock)
        try:
            with watching() as watcher:
                finished = run_matrix(matrix, checked, store, pool, plan, watcher)
        except KeyboardInterrupt as stop:
            say(
                f"kvreplay: interrupted; {store.done()} of {len(cells)} "
                f"cells are done in {show_path(out)}, go on with --resume",
                err=True,
            )
            return int(getattr(stop, "exit_code", 130))
        except OutOfTimeError as problem:
            say(f"kvreplay: {problem}", err=True)
            return 4
    if as_json:
        name = matrix.source.name
        print_results_json(finished.results, out, name, finished.ran, matrix.warnings)
    else:
        print_results(finished.results, out, finished.ran)
    return exit_code_of(finished.results)


def _check_executor(executor: str, jobs: int | None) -> None:
    address = re.fullmatch(r"dask://[^/\s]+:(\d{1,5})", executor)
    if executor != "local" and not (address and 0 < int(address[1]) < 2**16):
        raise click.BadParameter(
            f"{executor!r} is neither local nor dask://HOST:PORT", param_hint="--executor"
        )
    if executor != "local" and jobs is not None:
        raise click.UsageError("--jobs goes with --executor local; a cluster has its own workers")


def _pool(executor: str, jobs: int, budget: Budget, lock: int) -> AbstractContextManager[Pool]:
    if executor != "local":
        from replay.matrix.dask_pool import DaskPool

        return DaskPool(executor, draw_page, cell_s=budget.cell_s)
    from replay.matrix.pool import LocalPool
    from replay.matrix.run_one import run_message

    return LocalPool(
        partial(run_message, draw_page),
        jobs,
        cell_s=budget.cell_s,
        memory_bytes=None if budget.memory_mb is None else budget.memory_mb * 2**20,
        keep_open=lock,
    )
