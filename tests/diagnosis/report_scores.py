"""What the verdict on a public report may be, and how the verdicts on all of them compare with it.

`outcome` is a reader's label of a whole thread; a few lines often cannot show it, so `inconclusive`
never contradicts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.diagnosis.diagnosis import Diagnosis
from replay.diagnosis.judging.judge import Judge
from replay.diagnosis.reading.log_reader import LineReader

DATA = Path(os.environ.get("KVREPLAY_DATA", Path(__file__).parents[3] / "shared" / "data"))
REPORTS = DATA / "field-reports"

#: Outcome -> verdicts that agree with it, and the kinds that name it.
AGREEING: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "persistent_leak": (frozenset({"persistent"}), frozenset({"orphaned", "stuck", "hang"})),
    "over_free": (frozenset({"persistent"}), frozenset({"over-freed"})),
    "over_count": (frozenset({"persistent"}), frozenset({"over-freed"})),
    "hang_or_timeout": (frozenset({"persistent"}), frozenset({"hang"})),
    # Its pages balance, its bytes do not: kvreplay calls that persistent.
    "silent_corruption_balanced_count": (
        frozenset({"persistent"}),
        frozenset({"premature-free", "stale-write"}),
    ),
    "transient_self_heals_by_timeout": (frozenset({"transient"}), frozenset({"held"})),
    "false_positive_or_transient": (
        frozenset({"transient", "clean"}),
        frozenset({"held", "check-false-alarm"}),
    ),
    # The check that died of it would die again; no page is lost.
    "counter_drift_no_pages_lost": (
        frozenset({"persistent", "clean"}),
        frozenset({"counter-drift"}),
    ),
    # Where there is no leak, `clean`, and `transient` where something was late for a while.
    "pressure_not_leak": (frozenset({"clean", "transient"}), frozenset({"pressure"})),
    "control_healthy": (frozenset({"clean"}), frozenset({"none", "pressure"})),
    # The engine died before any audit, which in a replay is inconclusive as well.
    "crash_on_late_or_duplicate": (frozenset({"inconclusive"}), frozenset({"crash"})),
}


@dataclass(frozen=True, slots=True)
class ReportLog:
    """The lines of one report, from the list or from its longer excerpt."""

    name: str
    report: dict[str, Any]
    lines: bytes


def report_logs() -> Iterator[ReportLog]:
    """Every verbatim log of the list, then every longer excerpt."""
    reports = {}
    with (REPORTS / "reports.jsonl").open(encoding="utf-8") as file:
        for line in file:
            report = json.loads(line)
            reports[report["id"]] = report
            if report["log_kind"] == "verbatim":
                yield ReportLog(report["id"], report, report["log"].encode())
    for path in sorted((REPORTS / "logs").glob("*.log")):
        name = path.stem.removesuffix("-control")
        yield ReportLog(f"logs/{path.stem}", reports[name], path.read_bytes())


def judged(log: ReportLog) -> Diagnosis:
    """The diagnosis of a report's lines."""
    judge, reader = Judge(), LineReader(log.name)
    judge.add_all(reader.feed(log.lines))
    judge.add_all(reader.finish())
    tally = reader.tally
    return judge.diagnosis(tally.lines, sum(tally.known.values()))


def score(outcome: str, diagnosis: Diagnosis) -> str:
    """right, kind (inconclusive, but of the right kind), inconclusive or contradicting."""
    if outcome not in AGREEING:
        return "unlabelled"
    verdicts, kinds = AGREEING[outcome]
    worst = diagnosis.worst
    if worst.verdict in verdicts and (worst.verdict != "inconclusive" or worst.kind in kinds):
        return "right"
    if worst.verdict == "inconclusive":
        return "kind" if worst.kind in kinds else "inconclusive"
    return "contradicting"
