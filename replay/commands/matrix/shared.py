"""What the verbs of `kvreplay matrix` share: options, and results as text and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from replay.commands.options import say, say_json, show_path
from replay.recording.file_kinds import JUNIT, MARKDOWN
from traces.files.place import Place, check_apart, hold_all

if TYPE_CHECKING:
    import pyarrow as pa

    from replay.matrix.results import CellResult

_Function = TypeVar("_Function", bound=Callable[..., Any])

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
SHARD = click.option(
    "--shard", metavar="I/N", help="Use only the cells of this shard, such as 1/3."
)

#: Unexpected cells that are printed in full at the end; the results have all of them.
_TOLD_MAX = 50


class ReportWriters:
    """What `reports` makes of a matrix (`replay.matrix.results.Writers`)."""

    def junit(self, results: pa.Table, head: Mapping[str, Any]) -> str:
        """JUnit XML."""
        from reports.outputs.matrix.junit import junit_xml

        return junit_xml(results, head)

    def markdown(self, results: pa.Table, head: Mapping[str, Any]) -> str:
        """A summary for the page of a CI job or a pull request."""
        from reports.outputs.matrix.markdown import matrix_markdown

        return matrix_markdown(results, head)

    def page(self, results: pa.Table, head: Mapping[str, Any]) -> str:
        """One HTML page of all cells."""
        from reports.outputs.matrix.page import render_matrix_page

        return render_matrix_page(results, head)


def draw_page(recording: Path, page: Path, title: str, charts: bool) -> None:
    """Draw the report of a cell; workers import this function."""
    from reports.page import write_report

    write_report([recording], page, title, charts=charts)


def output_options(command: _Function) -> _Function:
    """`--junit` and `--markdown`: further files for the results."""
    for name, what in (("junit", "JUnit XML"), ("markdown", "Markdown summary")):
        command = click.option(
            f"--{name}",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help=f"Also write the {what} to FILE.",
        )(command)
    return command


@contextmanager
def hold_results(
    out: Path, junit: Path | None, markdown: Path | None, reads: Sequence[Path]
) -> Iterator[tuple[Place | None, Place | None]]:
    """Check the places of all results before anything runs, and hold those that are not in `out`.

    Raises:
        OutputError: something else is there.
    """
    check_apart(out, junit, markdown)
    wanted = [(path, kind) for path, kind in ((junit, JUNIT), (markdown, MARKDOWN)) if path]
    with hold_all(wanted, reads=reads, makes_folders=True) as places:
        left = iter(places)
        yield next(left) if junit else None, next(left) if markdown else None


def print_warnings(warnings: Iterable[str]) -> None:
    """Print on stderr which parts of the file have no effect."""
    for warning in warnings:
        say(f"kvreplay: warning: {warning}", err=True)


def print_results(results: Iterable[CellResult], out: Path, ran: int) -> None:
    """Print what broke in each unexpected cell and how to repeat it; count the rest."""
    from replay.matrix.results import count_outcomes

    all_results = list(results)
    unexpected = [result for result in all_results if not result.is_expected]
    for result in unexpected[:_TOLD_MAX]:
        say(cell_text(result))
        say()
    if len(unexpected) > _TOLD_MAX:
        say(f"and {len(unexpected) - _TOLD_MAX} more unexpected cells\n")
    for outcome, count in count_outcomes(all_results).items():
        say(f"  {outcome:<14}{count:>6}", fg=None if outcome == "passed" else "red")
    say(f"{len(all_results)} cells, {ran} run now; results: {show_path(out / 'results.parquet')}")


def cell_text(result: CellResult) -> str:
    """An unexpected cell in a few lines: verdict, why, equation, and how to see it again."""
    facts = result.document["facts"]
    lines = [f"[{result.judgement.outcome.upper()}] {result.cell.name}"]
    lines.append(f"  {result.judgement.because}")
    line = result.expectation.line
    where = f" (line {line})" if line is not None else ""
    lines.append(f"  expected: {result.expectation}{where}")
    if facts is not None and facts["equation"]:
        lines.append(f"  {facts['equation']}")
    lines.append(f"  reproduce: {result.document['reproduce']}")
    return "\n".join(lines)


def print_results_json(
    results: Iterable[CellResult], out: Path, name: str, ran: int, warnings: Iterable[str]
) -> None:
    """Print the results as JSON."""
    from replay.matrix.results import count_outcomes, exit_code_of, result_row
    from replay.matrix.store import MatrixStore

    all_results, store = list(results), MatrixStore(out)
    document = {
        "matrix": name,
        "out": str(out),
        "cells": len(all_results),
        "ran": ran,
        "outcomes": count_outcomes(all_results),
        "exit_code": exit_code_of(all_results),
        "unexpected": [result_row(store, each) for each in all_results if not each.is_expected],
        "warnings": list(warnings),
    }
    say_json(document)
