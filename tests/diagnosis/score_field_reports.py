"""Prints how the verdicts on the public reports compare with their outcomes.

python tests/diagnosis/score_field_reports.py [--all]
"""

from __future__ import annotations

import sys
from collections import Counter

from report_scores import REPORTS, judged, report_logs, score

COLUMNS = ("right", "kind", "inconclusive", "contradicting", "unlabelled")


def main() -> None:
    if not REPORTS.is_dir():
        sys.exit(f"{REPORTS}: not there; set KVREPLAY_DATA")
    counts: dict[str, Counter[str]] = {}
    for log in report_logs():
        diagnosis = judged(log)
        outcome = log.report["outcome"]
        result = score(outcome, diagnosis)
        counts.setdefault(outcome, Counter())[result] += 1
        if "--all" in sys.argv:
            print(
                f"{log.name}: {outcome} -> {diagnosis.worst.verdict}, {diagnosis.worst.kind}: {result}"
            )
    print(
        "| outcome | right | inconclusive, right kind | inconclusive | contradicting | no label |"
    )
    print("|---|---|---|---|---|---|")
    for outcome, row in sorted(counts.items()):
        print(f"| {outcome} | " + " | ".join(str(row[name]) for name in COLUMNS) + " |")
    totals = sum(counts.values(), Counter())
    print("| all | " + " | ".join(str(totals[name]) for name in COLUMNS) + " |")


if __name__ == "__main__":
    main()
