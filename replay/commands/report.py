"""`kvreplay report`: draw recordings as one offline HTML page, and as other files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import example, progress_bar, say, say_json, show_path
from replay.commands.suppression_options import (
    judge_accepted,
    read_accepted,
    suppression_options,
)
from replay.errors import RecordingError

if TYPE_CHECKING:
    from replay.verdict.findings.suppressions import Accepted
    from reports.evidence import Evidence
    from reports.outputs.together import Output


@click.command(
    epilog=example(
        "kvreplay report kvreplay-demo/dropped kvreplay-demo/delayed -o report.html -o comment.md"
    )
)
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
    help="File to write; the suffix is the format: .html the page, .md Markdown for a pull request, "
    ".json all data, .svg or .png the timeline; repeatable. [default: report.html, or none with "
    "--perfetto]",
)
@click.option(
    "--perfetto",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a trace file (.json.gz or .json) for ui.perfetto.dev.",
)
@suppression_options
@click.option(
    "--gen-suppressions",
    is_flag=True,
    help="Print a suppression for each lasting finding that is not accepted; draw nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the paths that were written as JSON.")
def report(
    directories: tuple[Path, ...],
    paths: tuple[Path, ...],
    perfetto: Path | None,
    suppressions: Path | None,
    today: datetime | None,
    gen_suppressions: bool,
    as_json: bool,
) -> int:
    """Draw one or more recordings (DIR...) as one HTML page that needs no network.

    With exactly two, the page begins with a comparison: the first is before a fix, the second after
    it. DIR may also be the directory of a matrix; its page is drawn again.

    Exit codes: 0 written, 2 not a recording or not writable, 4 internal error; with --suppressions
    also 1 when a lasting finding is not accepted or an entry has expired, and 3 when a recording is
    inconclusive and nothing worse was found.
    """
    from reports.outputs.matrix.outputs import is_matrix
    from reports.outputs.together import check_directories

    check_directories(directories)
    accepted = read_accepted(suppressions, today)
    if any(is_matrix(directory) for directory in directories):
        if accepted is not None or gen_suppressions:
            raise RecordingError(
                "suppressions are for recordings; a matrix says in its file what it expects of a cell"
            )
        _tell(_matrix(directories, paths, perfetto), as_json)
        return 0
    if gen_suppressions:
        say(_suppressions(directories, accepted), nl=False)
        return 0
    from replay.recording.reader import Recording

    # The last one that is missing is told before the first is read and judged.
    for directory in directories:
        Recording.open(directory)
    outputs = _outputs(paths, perfetto, () if suppressions is None else (suppressions,))
    if accepted is None:
        _tell(_recordings(directories, outputs), as_json)
        return 0
    from reports.evidence import load
    from reports.parts.findings.part import judge_evidence

    found = [load(directory) for directory in directories]
    _tell(_recordings(directories, outputs, found, accepted), as_json)
    return judge_accepted([judge_evidence(each, accepted) for each in found], accepted)


def _suppressions(directories: tuple[Path, ...], accepted: Accepted | None) -> str:
    """An entry for each finding of these recordings that lasts and is not accepted, to be pasted."""
    from replay.verdict.findings.gate import suppressions_text
    from reports.evidence import load
    from reports.parts.findings.part import judge_evidence

    found = [load(directory) for directory in directories]
    return suppressions_text(
        [
            (each.run["profile"]["name"], judge_evidence(each, accepted).matched.findings)
            for each in found
        ]
    )


def _tell(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(told, indent=None)
        return
    for output in told["outputs"]:
        say(f"{show_path(Path(output['path']))}: {_what(output, told)}")
    if told.get("comparison"):
        say(told["comparison"]["sentence"])


def _outputs(
    paths: tuple[Path, ...], perfetto: Path | None, reads: Sequence[Path]
) -> tuple[Output, ...]:
    from reports.outputs.together import plan_outputs

    if not paths and perfetto is None:
        paths = (Path("report.html"),)
    return plan_outputs(paths, perfetto, reads)


def _recordings(
    directories: tuple[Path, ...],
    outputs: tuple[Output, ...],
    found: list[Evidence] | None = None,
    accepted: Accepted | None = None,
) -> dict[str, Any]:
    from reports.outputs.together import steps_of, write_outputs

    with progress_bar("drawing", steps_of(directories, outputs)) as advance:
        return write_outputs(
            directories, outputs, advance=advance, recordings=found, accepted=accepted
        )


def _matrix(
    directories: tuple[Path, ...], paths: tuple[Path, ...], perfetto: Path | None
) -> dict[str, Any]:
    from reports.outputs.matrix.outputs import check_matrix, default_page, write_matrix_outputs
    from reports.outputs.together import plan_outputs

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
