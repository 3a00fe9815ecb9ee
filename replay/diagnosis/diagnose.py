"""Logs in, a diagnosis out: reading and judging together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from replay.diagnosis.diagnosis import Diagnosis
from replay.diagnosis.judging.judge import Judge
from replay.diagnosis.logs.reading import read_records
from replay.diagnosis.logs.source import LogSource
from replay.diagnosis.logs.tally import ReadingTally
from replay.diagnosis.metrics.scrapes import read_metrics


def diagnose(
    sources: Sequence[LogSource], progress: Callable[[int], None] | None = None
) -> Diagnosis:
    """Judge logs, in bounded memory whatever their length.

    Args:
        sources: what `replay.diagnosis.logs.source.open_logs` gives.
        progress: told how many bytes of the files were read, now and then.

    Raises:
        LogError: a log cannot be read.
    """
    return diagnose_all(sources, (), progress)


def diagnose_all(
    sources: Sequence[LogSource],
    metrics: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """The same over logs and files of scraped metrics.

    Raises:
        LogError: one of them cannot be read.
    """
    judge, tally = Judge(), ReadingTally()
    for source in sources:
        judge.expect(source.name)
    judge.add_all(read_records(sources, progress, tally))
    for name in metrics:
        judge.add_all(read_metrics(name, tally))
    return judge.diagnosis(tally.lines, sum(tally.known.values()), tuple(tally.problems))
