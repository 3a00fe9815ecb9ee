"""`kvreplay report`: draw recordings as one offline HTML page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from replay.commands.options import show_path


@click.command(epilog="Example: kvreplay report recordings/* -o report.html")
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page to write.",
)
@click.option("--json", "as_json", is_flag=True, help="Print where the page is, as JSON.")
def report(directories: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Draw one or more recordings (DIR...) as one HTML page that needs no network.

    Exit codes: 0 written, 2 not a recording or nowhere to write, 4 internal error.
    """
    from reports.page import write_report

    write_report(directories, output)
    if as_json:
        click.echo(json.dumps({"report": str(output), "recordings": len(directories)}))
    else:
        noun = "recording" if len(directories) == 1 else "recordings"
        click.echo(f"{show_path(output)}: {len(directories)} {noun}")
