"""A diagnosis as a person reads it in a terminal."""

from __future__ import annotations

import click

from replay.commands.options import printable
from replay.commands.summary_text import verdict_sign
from replay.diagnosis.diagnosis import Diagnosis, SeriesVerdict

#: Series and lines that are listed; the document has more.
_SERIES_SHOWN = 12
_LINES_SHOWN = 8


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print the verdict, why, the lines behind it, what to collect and how to make it happen."""
    worst = diagnosis.worst
    verdict_sign(worst.verdict)
    click.echo(f"  {printable(worst.why)}")
    click.echo(f"  kind: {worst.kind}; direction: {worst.direction}; growth: {worst.growth}")
    if diagnosis.same_gap_ranks:
        ranks = ", ".join(printable(rank) or "(no rank)" for rank in diagnosis.same_gap_ranks)
        click.echo(
            f"  the same numbers on {ranks}: one gap, not {len(diagnosis.same_gap_ranks) + 1}"
        )
    _print_series(diagnosis.series)
    _print_lines(diagnosis)
    for problem in diagnosis.problems:
        click.echo(f"  not read: {printable(problem)}")
    for step in worst.next:
        click.echo(f"  next: {step}")
    if diagnosis.reproduce:
        click.echo(f"  to make it happen: {diagnosis.reproduce}")
    click.echo(f"  {diagnosis.lines_read} lines read, {diagnosis.known_lines} of them known")


def _print_series(series: tuple[SeriesVerdict, ...]) -> None:
    if len(series) < 2:
        return
    for each in series[:_SERIES_SHOWN]:
        finding = each.finding
        click.echo(f"  [{finding.verdict}, {finding.kind}] {printable(finding.why)}")
    if len(series) > _SERIES_SHOWN:
        click.echo(f"  showing {_SERIES_SHOWN} of {len(series)} series; --json has them all")


def _print_lines(diagnosis: Diagnosis) -> None:
    shown = diagnosis.observations[-_LINES_SHOWN:]
    for each in shown:
        place = each.place
        when = f" {place.time}" if place.time else ""
        rank = f" {place.rank}" if place.rank else ""
        click.echo(
            f"  {printable(place.source)}:{place.line}{when}{printable(rank)} {each.pool}: "
            f"gap {each.gap} of {each.total}"
        )
    if diagnosis.observations_total > len(shown):
        click.echo(f"  showing {len(shown)} of {diagnosis.observations_total} accounting lines")
