"""A recording read once for a report, with the verdict made anew from its tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.errors import RecordingError
from replay.recording.reader import Recording
from replay.recording.tables import ADDED_LATER, TABLES
from replay.verdict.episodes import Episode
from replay.verdict.findings.collect import find_findings
from replay.verdict.findings.finding import Finding
from replay.verdict.judge import Verdict, judge


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a report says about one recording comes from here."""

    #: The directory as it was given.
    name: str
    run: dict[str, Any]
    #: What the tables say now, and what summary.json said when the recording was made.
    summary: dict[str, Any]
    saved_summary: dict[str, Any]
    episodes: tuple[Episode, ...]
    #: By name; those in `ADDED_LATER` are missing where the recording is of an earlier version.
    tables: dict[str, pa.Table]
    #: What is wrong, the worst first.
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Episode | None:
        """The episode that the mismatch was taken from."""
        mismatch = self.summary["mismatch"]
        if mismatch is None:
            return None
        number = mismatch["audit"]
        for episode in self.episodes:
            if episode.pool == mismatch["pool"] and number in (
                episode.quiet_audit,
                episode.widest_audit,
            ):
                return episode
        return None

    def rows(self, table: str, column: str, value: object) -> pa.Table:
        """The rows of a table with this value in a column."""
        return self.tables[table].filter(pc.equal(self.tables[table][column], value))

    @property
    def page_size(self) -> int:
        """Tokens of one page."""
        size: int = self.run["profile"]["page_size"]
        return size

    @property
    def end_us(self) -> int:
        """Virtual time at which the replay ended."""
        end: int = self.summary["virtual_us"]
        return end


def load(directory: Path) -> Evidence:
    """Read a recording and judge it again.

    Raises:
        RecordingError: it is missing, incomplete, or its parts do not fit together.
    """
    recording = Recording.open(directory)
    tables = {
        name: recording.table(name)
        for name in (*TABLES, "episodes")
        if name not in ADDED_LATER or recording.has(name)
    }
    saved_summary = recording.summary()
    verdict, findings = _judge(recording)
    tables["audits"] = tables["audits"].sort_by([("audit", "ascending")])
    return Evidence(
        name=str(directory),
        run=recording.run,
        summary=verdict.summary,
        saved_summary=saved_summary,
        episodes=verdict.episodes,
        tables=tables,
        findings=findings,
    )


def _judge(recording: Recording) -> tuple[Verdict, tuple[Finding, ...]]:
    try:
        verdict = judge(recording)
        return verdict, find_findings(recording, verdict)
    except (KeyError, IndexError, TypeError, AttributeError, pa.ArrowException) as problem:
        raise RecordingError(
            f"{recording.directory}: damaged, its tables and run.json do not fit together "
            f"({type(problem).__name__}: {problem})"
        ) from None
