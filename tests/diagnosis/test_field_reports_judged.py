"""The verdicts on public reports: never against what a thread came to, in the gap's direction."""

from __future__ import annotations

import pytest
from report_scores import AGREEING, REPORTS, judged, report_logs, score

from replay.diagnosis.diagnosis import Diagnosis

pytestmark = pytest.mark.skipif(
    not REPORTS.is_dir(), reason=f"{REPORTS} is not there; set KVREPLAY_DATA"
)


def _cases() -> list[object]:
    if not REPORTS.is_dir():
        return []
    return [pytest.param(log, id=log.name) for log in report_logs()]


def _by_pool(diagnosis: Diagnosis) -> dict[str, int]:
    return {each.pool: each.gap for each in diagnosis.observations}


@pytest.mark.parametrize("log", _cases())
def test_no_verdict_contradicts_its_report(log) -> None:
    diagnosis = judged(log)
    outcome = log.report["outcome"]
    assert outcome in AGREEING or outcome == "unknown"
    assert score(outcome, diagnosis) != "contradicting", diagnosis.worst.why
    if diagnosis.worst.verdict == "inconclusive":
        assert diagnosis.worst.next, "what to collect next"


@pytest.mark.parametrize("log", _cases())
def test_the_direction_is_the_sign_of_the_reported_difference(log) -> None:
    numbers = log.report["numbers"]
    told = {pool: each["diff"] for pool, each in numbers.items() if isinstance(each, dict)}
    if "diff" in numbers:
        told["any"] = numbers["diff"]
    if "req_diff" in numbers:
        told["req_to_token"] = numbers["req_diff"]
    diagnosis = judged(log)
    for difference in told.values():
        # What a report calls the difference is accounted minus total.
        if difference and diagnosis.observations:
            assert diagnosis.worst.direction == ("leak" if difference < 0 else "over-free") or (
                diagnosis.worst.kind == "counter-drift"
            )
            assert -difference in _by_pool(diagnosis).values() or (
                diagnosis.worst.kind == "counter-drift"
            )


@pytest.mark.parametrize(
    ("outcome", "kinds"),
    [
        ("pressure_not_leak", {"pressure"}),
        ("counter_drift_no_pages_lost", {"counter-drift"}),
        ("hang_or_timeout", {"hang"}),
    ],
)
def test_lines_that_show_what_is_wrong_get_its_kind(outcome: str, kinds: set[str]) -> None:
    logs = [log for log in report_logs() if log.report["outcome"] == outcome]
    assert {judged(log).worst.kind for log in logs} == kinds
