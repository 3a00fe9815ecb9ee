"""`kvreplay report`: draw recordings as one offline HTML page, and as other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from replay.commands.options import printable, progress_bar, show_path


@click.command(epilog="Example: kvreplay report before after -o report.html -o comment.md")
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    "paths",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What to write, told by its suffix: .html the page, .md Markdown for a pull request, .json "
    "everything as data, .svg or .png the timeline; repeatable. [default: report.html, or none "
    "with --perfetto]",
)
@click.option(
    "--perfetto",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a trace file (.json.gz or .json) that ui.perfetto.dev opens.",
)
@click.option("--json", "as_json", is_flag=True, help="Print where everything is, as JSON.")
def report(
    directories: tuple[Path, ...], paths: tuple[Path, ...], perfetto: Path | None, as_json: bool
) -> None:
    """Draw one or more recordings (DIR...) as one HTML page that needs no network.

    The page of exactly two begins with their comparison: the first is before, the second after a
    fix. DIR may also be the directory of a matrix, whose page is then drawn anew.

    Exit codes: 0 written, 2 not a recording or nowhere to write, 4 internal error.
    """
    from reports.matrix.outputs import is_matrix
    from reports.outputs import check_directories

    check_directories(directories)
    if any(is_matrix(directory) for directory in directories):
        told = _matrix(directories, paths, perfetto)
    else:
        told = _recordings(directories, paths, perfetto)
    if as_json:
        click.echo(json.dumps(told))
        return
    for output in told["outputs"]:
        click.echo(f"{show_path(Path(output['path']))}: {_what(output, told)}")
    if told.get("comparison"):
        click.echo(printable(told["comparison"]["sentence"]))


def _recordings(
    directories: tuple[Path, ...], paths: tuple[Path, ...], perfetto: Path | None
) -> dict[str, Any]:
    from reports.outputs import plan_outputs, steps_of, write_outputs

    if not paths and perfetto is None:
        paths = (Path("report.html"),)
    outputs = plan_outputs(paths, perfetto)
    with progress_bar("drawing", steps_of(directories, outputs)) as advance:
        return write_outputs(directories, outputs, advance=advance)


def _matrix(
    directories: tuple[Path, ...], paths: tuple[Path, ...], perfetto: Path | None
) -> dict[str, Any]:
    from reports.matrix.outputs import check_matrix, default_page, write_matrix_outputs
    from reports.outputs import plan_outputs

    check_matrix(directories, (*paths, perfetto) if perfetto is not None else paths)
    outputs = plan_outputs(paths or (default_page(directories[0]),))
    return write_matrix_outputs(directories[0], outputs)


def _what(output: dict[str, Any], told: dict[str, Any]) -> str:
    """What is in a file, in a few words."""
    if "slices" in output:
        return f"{output['slices']:,} slices, for ui.perfetto.dev"
    if "cells" in told:
        return f"{told['cells']:,} {'cell' if told['cells'] == 1 else 'cells'}"
    if "recording" in output:
        return f"the timeline of {show_path(Path(output['recording']))}"
    noun = "recording" if told["recordings"] == 1 else "recordings"
    return f"{told['recordings']} {noun}"
