"""How often verdicts are right on replays of which the truth is known: `make verdicts`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from replay.commands.options import progress_bar

_SILENT = (
    "silent: what no log can show, because every count in it is right: wrong bytes or owners, or a "
    "counter that no line prints; wrong is only to call that persistent"
)


@click.command(epilog="Example: python tests/quality/measure_verdicts.py --cells 500 --jobs 2")
@click.option("--cells", type=click.IntRange(1, 100_000), default=500, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option("--cell", type=click.IntRange(min=0), metavar="N", help="Run cell N alone.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep that cell's files here."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verdict(
    cells: int, seed: int, jobs: int, cell: int | None, keep: Path | None, as_json: bool
) -> int:
    """Label random replays of all engines by what really became of them, and compare verdicts.

    Each cell is judged twice: from its recording, and blind from the logs that its servers would have
    written. Wrong is to call something persistent that came right, or the other way round. Exit code
    1 if a recording was judged wrong, or more than 2 % of the logs.
    """
    if keep is not None and cell is None:
        raise click.UsageError("--keep wants to know which cell: give --cell N as well")
    if cell is not None:
        return _show_cell(seed, cell, keep, as_json)
    from labelled.benchmark import run_cells
    from labelled.score import score

    with progress_bar("labelling", cells) as progress:
        result = score(list(run_cells(seed, range(cells), jobs, progress)), seed)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        _show(result)
    return 1 if result["white_box"]["wrong"] or result["logs"]["wrong"] > cells * 0.02 else 0


def _show_cell(seed: int, number: int, keep: Path | None, as_json: bool) -> int:
    from labelled.trial import Outcome, run_trial

    result = run_trial(
        {"seed": seed, "number": number, "keep": None if keep is None else str(keep)}
    )
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        for name, value in result.items():
            click.echo(f"{name.replace('_', ' ')}: {value}")
    if keep is not None:
        click.echo(f"kept: {keep}/recording, and the logs: {keep}/serve.*.log", err=True)
    outcome = Outcome(**result)
    return int(outcome.is_white_box_wrong or outcome.is_blind_wrong)


def _show(result: dict[str, Any]) -> None:
    told = ", ".join(f"{count} {label}" for label, count in sorted(result["truth"].items()))
    click.echo(f"{result['cells']} labelled cells of seed {result['seed']}: {told}")
    for half, title in (("white_box", "from recordings"), ("logs", "from logs alone")):
        click.echo(f"\n{title}")
        _show_half(result[half])
    for key, of_what in (
        ("with_three_quiet_checks", "of the pool that decides, after healing"),
        ("with_three_quiet_lines_of_any_pool", "of any one pool at any time"),
    ):
        checks = result["logs"][key]
        click.echo(
            f"  with three quiet checks or more {of_what}: {checks['cells']} cells, "
            f"{checks['wrong']} wrong, {_percent(checks['inconclusive_share'])} inconclusive"
        )
    click.echo(f"  {_SILENT}")
    click.echo("\nengine                 cells  recordings wrong  logs wrong  logs inconclusive")
    for engine, row in result["engines"].items():
        click.echo(
            f"{engine:<22} {row['cells']:>5}  {row['white_box_wrong']:>16}  "
            f"{row['logs_wrong']:>10}  {row['logs_inconclusive']:>17}"
        )
    for wrong in result["wrong"]:
        _show_wrong(wrong)


def _show_half(half: dict[str, Any]) -> None:
    verdicts = list(next(iter(half["confusion"].values())))
    click.echo("  truth \\ verdict " + "".join(f"{name:>14}" for name in verdicts))
    for label, row in half["confusion"].items():
        click.echo(f"  {label:<16}" + "".join(f"{row[name]:>14}" for name in verdicts))
    for name, row in half["classes"].items():
        click.echo(
            f"  {name}: precision {_percent(row['precision'])}, recall {_percent(row['recall'])}"
        )
    click.echo(
        f"  wrong: {half['wrong']} ({_percent(half['wrong_share'])}), "
        f"inconclusive: {_percent(half['inconclusive_share'])}"
    )


def _show_wrong(wrong: dict[str, Any]) -> None:
    defect = f" with {wrong['defect']}" if wrong["defect"] else ""
    click.echo(f"\n{wrong['engine']}{defect}, faults {wrong['faults']}: truth {wrong['truth']}")
    for pool, what in list(wrong["broken"].items())[:3]:
        click.echo(f"  {pool}: {what}")
    for half in wrong["verdicts"]:
        click.echo(f"  {half['half']} says {half['verdict']}: {half['why']}")
    click.echo(f"  {wrong['reproduce']}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(verdict.main(standalone_mode=False))
