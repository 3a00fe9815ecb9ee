"""`kvreplay report`: draw recordings as one offline HTML page."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from replay.commands.options import show_path
from replay.commands.suppression_options import (
    judge_accepted,
    read_accepted,
    suppression_options,
)


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
@suppression_options
@click.option(
    "--gen-suppressions",
    is_flag=True,
    help="Print a suppression for each finding that lasts and is not accepted; draw nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print where the page is, as JSON.")
def report(
    directories: tuple[Path, ...],
    output: Path,
    suppressions: Path | None,
    today: datetime | None,
    gen_suppressions: bool,
    as_json: bool,
) -> int:
    """Draw one or more recordings (DIR...) as one HTML page that needs no network.

    Exit codes: 0 written, 2 not a recording or nowhere to write, 4 internal error; with
    --suppressions also 1 when a lasting finding is not accepted or an entry has expired, and 3 when
    nothing speaks against a recording but it cannot tell.
    """
    accepted = read_accepted(suppressions, today)
    from reports.evidence import load
    from reports.page import write_report
    from reports.parts.findings import judge_evidence

    found = [load(directory) for directory in directories]
    judged = [judge_evidence(evidence, accepted) for evidence in found]
    if gen_suppressions:
        from replay.findings.generating import suppressions_text

        profiles = (evidence.run["profile"]["name"] for evidence in found)
        each = [(name, one.outcome.findings) for name, one in zip(profiles, judged, strict=True)]
        click.echo(suppressions_text(each), nl=False)
        return 0
    write_report(found, output, accepted=accepted)
    if as_json:
        click.echo(json.dumps({"report": str(output), "recordings": len(directories)}))
    else:
        noun = "recording" if len(directories) == 1 else "recordings"
        click.echo(f"{show_path(output)}: {len(directories)} {noun}")
    return 0 if accepted is None else judge_accepted(judged, accepted)
