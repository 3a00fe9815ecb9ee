"""One finding of a rank's pool from its accounting checks and its status lines."""

from __future__ import annotations

import dataclasses

from replay.diagnosis.finding import Finding, Weight
from replay.diagnosis.series import Series


def settle(series: Series, checks: Finding | None, loads: Finding | None) -> Finding | None:
    """The worse of the two, in favour of the checks, which count exactly."""
    if checks is None or loads is None:
        return checks or loads
    if loads.weight > checks.weight and not (
        # A check that balances counts; a busy moment afterwards takes nothing of that.
        checks.weight in (Weight.CLEAN, Weight.TRANSIENT) and loads.verdict == "inconclusive"
    ):
        return loads if checks.observation is None else _with(loads, checks)
    return checks


def _with(loads: Finding, checks: Finding) -> Finding:
    """Status lines that say more than a single check: its numbers, their verdict."""
    if loads.verdict != "persistent" or checks.direction == "none":
        return loads
    return dataclasses.replace(
        loads,
        direction=checks.direction,
        observation=checks.observation,
        gap_tokens=checks.gap_tokens,
        why=f"{checks.why}; {loads.why}",
    )
