"""A diagnosis as a person reads it in a terminal."""

from __future__ import annotations

from replay.commands.options import say
from replay.commands.printing.summary import verdict_sign
from replay.diagnosis.diagnosis import Diagnosis, SeriesVerdict

#: Series and lines that are listed; the document has more.
_SERIES_SHOWN = 12
_LINES_SHOWN = 8


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print the verdict, why, the lines behind it, what to collect and how to make it happen."""
    worst = diagnosis.worst
    verdict_sign(worst.verdict)
    say(f"  {worst.why}")
    say(f"  kind: {worst.kind}; direction: {worst.direction}; growth: {worst.growth}")
    if diagnosis.same_gap_ranks:
        ranks = ", ".join(rank or "(no rank)" for rank in diagnosis.same_gap_ranks)
        say(f"  the same numbers on {ranks}: one gap, not {len(diagnosis.same_gap_ranks) + 1}")
    _print_series(diagnosis.series)
    _print_lines(diagnosis)
    for problem in diagnosis.problems:
        say(f"  not read: {problem}")
    for step in worst.next:
        say(f"  next: {step}")
    if diagnosis.reproduce:
        say(f"  to make it happen: {diagnosis.reproduce}")
    say(f"  {diagnosis.lines_read} lines read, {diagnosis.known_lines} of them known")


def _print_series(series: tuple[SeriesVerdict, ...]) -> None:
    if len(series) < 2:
        return
    for each in series[:_SERIES_SHOWN]:
        found = each.assessment
        say(f"  [{found.verdict}, {found.kind}] {found.why}")
    if len(series) > _SERIES_SHOWN:
        say(f"  showing {_SERIES_SHOWN} of {len(series)} series; --json has them all")


def _print_lines(diagnosis: Diagnosis) -> None:
    shown = diagnosis.observations[-_LINES_SHOWN:]
    for each in shown:
        place = each.place
        when = f" {place.time}" if place.time else ""
        rank = f" {place.rank}" if place.rank else ""
        say(
            f"  {place.source}:{place.line}{when}{rank} {each.pool}: gap {each.gap} of {each.total}"
        )
    if diagnosis.observations_total > len(shown):
        say(f"  showing {len(shown)} of {diagnosis.observations_total} accounting lines")
