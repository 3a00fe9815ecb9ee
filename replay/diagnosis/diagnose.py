"""Logs in, a diagnosis out: reading and judging together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from replay.diagnosis.diagnosis import Diagnosis
from replay.diagnosis.judge import Judge
from replay.diagnosis.reading import read_records
from replay.diagnosis.source import LogSource
from replay.diagnosis.tally import ReadingTally


def diagnose(
    sources: Sequence[LogSource], progress: Callable[[int], None] | None = None
) -> Diagnosis:
    """Judge logs, in bounded memory whatever their length.

    Args:
        sources: what `replay.diagnosis.source.open_logs` gives.
        progress: told how many bytes of the files were read, now and then.

    Raises:
        LogError: a log cannot be read.
    """
    judge, tally = Judge(), ReadingTally()
    judge.add_all(read_records(sources, progress, tally))
    return judge.diagnosis(tally.lines, sum(tally.known.values()), tuple(tally.problems))
