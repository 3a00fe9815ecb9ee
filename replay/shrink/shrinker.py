"""From a recording to the smallest case with the same outcome, one round after the other.

    requests  ->  rules  ->  deployment  ->  requests, one by one  ->  options, lengths, times, names
        ^                                                                         |
        +------------------------ as long as a round has changed anything --------+

Every step depends on the case alone and on nothing that came before. So a case that a whole round
leaves unchanged stays unchanged when it is shrunk again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from replay.errors import ShrinkError
from replay.recording.reader import Recording
from replay.shrink.asked import ShrinkOptions, wanted_of
from replay.shrink.case import Case, load_case
from replay.shrink.outcome import Outcome
from replay.shrink.outputs import facts, write_shrunk
from replay.shrink.place import open_place
from replay.shrink.search import Goal, OutOfBudgetError, Search, outcome_in_memory
from replay.shrink.smaller.deployment import (
    plainer_engine,
    plainer_options,
    smaller_deployment,
    smaller_together,
)
from replay.shrink.smaller.requests import (
    earlier_arrivals,
    fewer_pairs,
    fewer_requests,
    plain_names,
    simpler_requests,
)
from replay.shrink.smaller.rules import explicit_rules, fewer_rules, named_requests, simpler_rules
from replay.verdict.judge import judge

#: A bound that no shrink comes near: each round makes something smaller.
_ROUNDS_MAX = 100

_STEPS = (
    named_requests,
    fewer_requests,
    fewer_rules,
    explicit_rules,
    smaller_together,
    smaller_deployment,
    plainer_engine,
    fewer_requests,
    fewer_rules,
    plainer_options,
    simpler_rules,
    simpler_requests,
    earlier_arrivals,
    fewer_pairs,
    plain_names,
)


def shrink(search: Search) -> bool:
    """Make the case of a search as small as it gets.

    Returns:
        Whether that is minimal: False when the budget came to its end first.
    """
    try:
        for _ in range(_ROUNDS_MAX):
            before = search.case.key()
            for step in _STEPS:
                step(search)
            if search.case.key() == before:
                return True
    except OutOfBudgetError:
        return False
    return False


def shrink_recording(
    recording: Recording,
    out: Path,
    options: ShrinkOptions,
    tell: Callable[[Case, int], None] | None = None,
) -> dict[str, Any]:
    """Shrink the case of a recording into a directory; what shrunk.json says.

    Raises:
        ShrinkError: it has nothing that could be kept, or the directory cannot be used.
        RecordingError: the recording or its trace is not to be had.
    """
    started = time.monotonic()
    case = load_case(recording, options.trace)
    summary = judge(recording).summary
    wanted = wanted_of(recording, summary, options.same_gap)
    goal = Goal(wanted, options.because_of)
    _check_again(recording, case, goal)
    head = {
        "case": case.key(),
        "goal": wanted.to_dict() | {"numbers": list(wanted.numbers or ())},
        "because_of": list(options.because_of),
        "kvreplay": version("kvreplay"),
    }
    reads = [recording.directory, Path(options.trace or recording.run["trace"]["path"])]
    with open_place(out, head, options.restart, reads) as (place, journal):
        search = Search(case, goal, journal, options.budget, tell)
        minimal = shrink(search)
        document = {
            "minimal": minimal,
            "goal": wanted.to_dict(),
            "because_of": list(options.because_of),
            "before": facts(case, summary),
            "tried": search.tried,
            "timing": {"seconds": round(time.monotonic() - started, 1)},
        }
        return write_shrunk(place, out, search.case, wanted, document)


def _check_again(recording: Recording, case: Case, goal: Goal) -> None:
    """Make sure that the case still comes to what the recording says."""
    if goal.holds(case):
        return
    found = outcome_in_memory(case, goal.outcome.numbers is not None)
    if found != goal.outcome:
        words = "nothing of the kind" if found is None else _words(found)
        raise ShrinkError(
            f"{recording.directory}: says {_words(goal.outcome)}, but replayed now it comes to "
            f"{words}: it was made by another version ({recording.run.get('kvreplay')}); run it anew"
        )
    raise ShrinkError(
        f"{recording.directory}: comes to the same without {', '.join(goal.because_of)}"
    )


def _words(outcome: Outcome) -> str:
    return outcome.verdict if outcome.kind is None else f"{outcome.verdict} ({outcome.kind})"
