"""How right the verdicts on labelled cells were: confusion, precision, recall, and who was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, get_args

from labelled.trial import Outcome
from labelled.truth import Label
from replay.recording.kinds import VerdictName

VERDICTS: tuple[str, ...] = get_args(VerdictName)
#: Quiet checks from which on a log should tell.
QUIET_CHECKS_MIN = 3


def score(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """Everything that is said of a run of the benchmark, ready for JSON."""
    return {
        "cells": len(outcomes),
        "seed": seed,
        "truth": dict(Counter(each.truth for each in outcomes)),
        "white_box": _half(
            outcomes,
            lambda each: each.truth,
            lambda each: each.white_box,
            lambda each: each.is_white_box_wrong,
        ),
        "logs": _half(
            outcomes,
            lambda each: each.log_truth,
            lambda each: each.blind,
            lambda each: each.is_blind_wrong,
        )
        | {
            "with_three_quiet_checks": _with_checks(outcomes, lambda each: each.quiet_checks),
            "with_three_quiet_lines_of_any_pool": _with_checks(
                outcomes, lambda each: each.quiet_lines
            ),
        },
        "engines": {
            engine: _of_engine([each for each in outcomes if each.engine == engine])
            for engine in sorted({each.engine for each in outcomes})
        },
        "wrong": [_wrong(each, seed) for each in outcomes if _is_wrong(each)],
    }


def _is_wrong(outcome: Outcome) -> bool:
    return outcome.is_white_box_wrong or outcome.is_blind_wrong


def _half(
    outcomes: Sequence[Outcome],
    truth: Callable[[Outcome], str],
    verdict: Callable[[Outcome], str],
    is_wrong: Callable[[Outcome], bool],
) -> dict[str, Any]:
    """One half of the benchmark: what was said of cells of each label, and how often that is so."""
    confusion = {
        label.value: {
            said: sum(truth(each) == label and verdict(each) == said for each in outcomes)
            for said in VERDICTS
        }
        for label in Label
    }
    return {
        "confusion": confusion,
        "classes": {
            said: _precision_and_recall(said, confusion)
            for said in VERDICTS
            if said != "inconclusive"
        },
        "wrong": sum(is_wrong(each) for each in outcomes),
        "wrong_share": _share(sum(is_wrong(each) for each in outcomes), len(outcomes)),
        "inconclusive_share": _share(
            sum(verdict(each) == "inconclusive" for each in outcomes), len(outcomes)
        ),
    }


def _precision_and_recall(said: str, confusion: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Of one class; None where nothing was said, or nothing is true."""
    right = confusion[said][said]
    claimed = sum(row[said] for row in confusion.values())
    true = sum(confusion[said].values())
    return {"precision": _share(right, claimed), "recall": _share(right, true)}


def _with_checks(outcomes: Sequence[Outcome], checks: Callable[[Outcome], int]) -> dict[str, Any]:
    """The cells of which the logs have enough checks."""
    those = [each for each in outcomes if checks(each) >= QUIET_CHECKS_MIN]
    unsure = sum(each.blind == "inconclusive" for each in those)
    return {
        "cells": len(those),
        "wrong": sum(each.is_blind_wrong for each in those),
        "inconclusive": unsure,
        "inconclusive_share": _share(unsure, len(those)),
    }


def _of_engine(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "cells": len(outcomes),
        "white_box_wrong": sum(each.is_white_box_wrong for each in outcomes),
        "logs_wrong": sum(each.is_blind_wrong for each in outcomes),
        "logs_inconclusive": sum(each.blind == "inconclusive" for each in outcomes),
    }


def _wrong(outcome: Outcome, seed: int) -> dict[str, Any]:
    """One wrong cell: who said what, and the line that shows it again."""
    halves = []
    if outcome.is_white_box_wrong:
        halves.append(
            {"half": "white-box", "verdict": outcome.white_box, "why": outcome.white_box_why}
        )
    if outcome.is_blind_wrong:
        halves.append({"half": "logs", "verdict": outcome.blind, "why": outcome.blind_why})
    return {
        "cell": outcome.number,
        "engine": outcome.engine,
        "defect": outcome.defect,
        "faults": outcome.faults,
        "truth": outcome.truth,
        "broken": outcome.broken,
        "verdicts": halves,
        "reproduce": f"python tests/quality/measure_verdicts.py --seed {seed} --cell {outcome.number} --keep DIR",
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
