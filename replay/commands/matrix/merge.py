"""`kvreplay matrix merge`: put the shards of a matrix together."""

from __future__ import annotations

import os
from pathlib import Path

import click

from replay.commands.matrix.shared import (
    JSON,
    ReportWriters,
    hold_results,
    output_options,
    print_results,
    print_results_json,
    print_warnings,
)
from replay.commands.options import example
from replay.errors import MatrixError


@click.command(
    epilog=example("kvreplay matrix merge shard-1 shard-2 shard-3 --out M --junit j.xml")
)
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="M",
    help="Directory of the merged matrix; a finished matrix there is replaced.",
)
@click.option("--force", is_flag=True, help="Replace a different matrix in M as well.")
@output_options
@JSON
def merge(
    directories: tuple[Path, ...],
    out: Path,
    force: bool,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Merge the shards in DIR... into the results that one run of the whole matrix gives.

    Exit codes: as `kvreplay matrix run`.
    """
    for directory in directories:
        if os.path.realpath(directory) == os.path.realpath(out):
            raise MatrixError(f"{out}: is one of the shards; name another directory for the whole")
    from replay.matrix.merge import find_whole, merge_shards
    from replay.matrix.results import exit_code_of
    from replay.matrix.runner import RunPlan
    from replay.matrix.store import open_store

    whole = find_whole(directories)
    source = whole.matrix.source
    with (
        hold_results(out, junit, markdown, directories) as (junit_place, markdown_place),
        open_store(out, "merge", None, source, reads=directories, force=force) as (store, _),
    ):
        try:
            plan = RunPlan(writers=ReportWriters(), junit=junit_place, markdown=markdown_place)
            finished = merge_shards(whole, store, plan)
        except BaseException:
            # Half a merge is worth nothing: the shards are still there.
            store.clear()
            raise
    matrix = whole.matrix
    print_warnings(matrix.warnings)
    if as_json:
        name = matrix.source.name
        print_results_json(finished.results, out, name, finished.ran, matrix.warnings)
    else:
        print_results(finished.results, out, finished.ran)
    return exit_code_of(finished.results)
