"""One assessment of a rank's pool from its accounting checks and its status lines.

Status lines say how many tokens are in use, not how many request slots. So what they show of a gap in
tokens goes for the slots that were missing at the same check.
"""

from __future__ import annotations

import dataclasses

from replay.diagnosis.diagnosis import SeriesVerdict
from replay.diagnosis.judging.assessment import Assessment, Weight
from replay.diagnosis.judging.next_steps import steps_for_gap
from replay.diagnosis.judging.series import Series, dp_rank


def combine_checks_and_loads(
    series: Series, checks: Assessment | None, loads: Assessment | None
) -> Assessment | None:
    """The worse of the two, in favour of the checks, which count exactly."""
    if checks is None or loads is None:
        return checks or loads
    if loads.weight > checks.weight and not (
        # A check that balances counts; a busy moment afterwards takes nothing of that.
        checks.weight in (Weight.CLEAN, Weight.TRANSIENT) and loads.verdict == "inconclusive"
    ):
        return loads if checks.observation is None else _with(loads, checks)
    return checks


def _with(loads: Assessment, checks: Assessment) -> Assessment:
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


def doubt_untagged(verdicts: list[SeriesVerdict]) -> list[SeriesVerdict]:
    """Lines without a rank, on a server with several DP ranks, may be of as many pools."""
    ranks: dict[tuple[str, str], set[str]] = {}
    for each in verdicts:
        if found := dp_rank(each.rank):
            ranks.setdefault((each.server, each.instance), set()).add(found)
    return [
        _of_some_rank(each, len(ranks.get((each.server, each.instance), ())))
        if not each.rank
        else each
        for each in verdicts
    ]


def _of_some_rank(untagged: SeriesVerdict, ranks: int) -> SeriesVerdict:
    assessment = untagged.assessment
    if ranks < 2 or assessment.verdict != "persistent" or assessment.observation is None:
        return untagged
    return dataclasses.replace(
        untagged,
        assessment=dataclasses.replace(
            assessment,
            verdict="inconclusive",
            growth="unknown",
            next=steps_for_gap(assessment.observation, assessment.kind),
            why=f"{assessment.why}; but these lines name no rank and the server has {ranks} DP ranks, "
            "so they may be about different pools",
        ),
    )


#: Lines of one message that tells of two pools.
_SAME_CHECK_LINES = 4


def follow_tokens(verdicts: list[SeriesVerdict]) -> list[SeriesVerdict]:
    """Slots that stay missing only as long as tokens which are not known to stay are not either."""
    tokens = {
        (each.server, each.instance, each.rank): each.assessment
        for each in verdicts
        if each.pool == "full" and each.assessment.observation is not None
    }
    return [
        _following(each, tokens.get((each.server, each.instance, each.rank)))
        if each.pool == "req_to_token"
        else each
        for each in verdicts
    ]


def _following(slots: SeriesVerdict, tokens: Assessment | None) -> SeriesVerdict:
    assessment = slots.assessment
    if tokens is None or tokens.observation is None or assessment.observation is None:
        return slots
    if assessment.verdict != "persistent" or tokens.verdict == "persistent":
        return slots
    apart = assessment.observation.place.line - tokens.observation.place.line
    if not 0 <= apart <= _SAME_CHECK_LINES:
        return slots
    return dataclasses.replace(
        slots,
        assessment=dataclasses.replace(
            assessment,
            verdict=tokens.verdict,
            growth=tokens.growth,
            kind=tokens.kind,
            next=tokens.next,
            why=f"{assessment.why}; but the tokens of the same check need not stay missing",
        ),
    )
