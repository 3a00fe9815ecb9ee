"""Tries candidates one after the other and keeps the smallest that still has what is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from replay.errors import ProfileError, ReplayError
from replay.shrink.asked import Budget
from replay.shrink.case import Case
from replay.shrink.in_memory import replay_in_memory
from replay.shrink.involved import Involved, who_is_involved
from replay.shrink.outcome import Outcome, outcome_of
from replay.shrink.place import Journal

T = TypeVar("T")


class OutOfBudgetError(Exception):
    """The replays or the seconds that were granted are used up; what is found so far stands."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a candidate must come to.

    Attributes:
        outcome: the same as of the case that is shrunk.
        because_of: bugs without which it must come to something else.
    """

    outcome: Outcome
    because_of: tuple[str, ...] = ()

    def holds(self, case: Case) -> bool:
        """Whether a case comes to this."""
        exact = self.outcome.numbers is not None
        if outcome_in_memory(case, exact) != self.outcome:
            return False
        return not self.because_of or (
            outcome_in_memory(case.without_defects(self.because_of), exact) != self.outcome
        )


def outcome_in_memory(case: Case, exact: bool = False) -> Outcome | None:
    """Replay a case and say what it came to; None also when it cannot be replayed at all."""
    try:
        recording, verdict = replay_in_memory(case.to_request())
    except (ProfileError, ReplayError):
        return None
    return outcome_of(verdict.summary, recording.run, exact)


class Search:
    """The smallest case found so far, and the candidates that were tried on the way.

    Args:
        case: what to begin with; it must have what is wanted.
        goal: what is wanted.
        journal: remembers candidates.
        budget: for candidates, known ones included, and for the time that this process takes to
            try those that are not known.
        tell: told of the best case and of how many candidates were tried, after each.
    """

    def __init__(
        self,
        case: Case,
        goal: Goal,
        journal: Journal,
        budget: Budget | None = None,
        tell: Callable[[Case, int], None] | None = None,
    ) -> None:
        self.case = case
        self.goal = goal
        self.tried = 0
        self._journal = journal
        self._budget = budget or Budget()
        self._tell = tell
        self._started = time.monotonic()
        self._involved: tuple[str, Involved] | None = None
        self._seen: dict[str, bool] = {case.key(): True}

    def accepts(self, candidate: Case) -> bool:
        """Try a candidate; it takes the place of the best if it has what is wanted."""
        key = candidate.key()
        if key == self.case.key() or not self._holds(candidate, key):
            return False
        self.case = candidate
        return True

    def involved(self) -> Involved:
        """Who and what the best case is about; replays it once more."""
        key = self.case.key()
        if self._involved is None or self._involved[0] != key:
            self._involved = key, who_is_involved(self.case)
        return self._involved[1]

    def _holds(self, candidate: Case, key: str) -> bool:
        if key in self._seen:
            return self._seen[key]
        known = self._journal.get(key)
        self._spend(is_known=known is not None)
        if known is None:
            known = self.goal.holds(candidate)
            self._journal.add(key, known)
        self._seen[key] = known
        if self._tell is not None:
            self._tell(candidate if known else self.case, self.tried)
        return known

    def _spend(self, *, is_known: bool) -> None:
        budget = self._budget
        if budget.replays is not None and self.tried >= budget.replays:
            raise OutOfBudgetError
        # What an earlier process has found costs nothing, and the result must not get worse again.
        over = budget.seconds is not None and time.monotonic() - self._started >= budget.seconds
        if over and not is_known:
            raise OutOfBudgetError
        self.tried += 1


def keep_few(
    search: Search, parts: Callable[[], Sequence[T]], with_parts: Callable[[Sequence[T]], Case]
) -> bool:
    """Delta debugging: leave away as many parts as possible, in ever smaller stretches.

    At its end no single part can be left away. Later parts go first, because what came last is least
    likely to have caused what was seen.

    Args:
        search: tries the candidates.
        parts: the parts of its best case, such as its requests.
        with_parts: its best case with these parts only.

    Returns:
        Whether anything was left away.
    """
    whole = len(parts())
    if whole and search.accepts(with_parts(())):
        return True
    length = max(1, whole // 2)
    while parts():
        gone = False
        end = len(parts())
        while end > 0:
            start, now = max(0, end - length), parts()
            rest = [*now[:start], *now[end:]]
            gone |= bool(rest) and search.accepts(with_parts(rest))
            end = start
        if length == 1 and not gone:
            break
        length = max(1, min(length, len(parts())) // 2)
    return len(parts()) < whole


def descend(
    search: Search, simpler: Callable[[Case], Iterable[int]], make: Callable[[Case, int], Case]
) -> None:
    """Take the first of the simpler numbers that will do, again and again until none does."""
    while any(search.accepts(make(search.case, number)) for number in simpler(search.case)):
        pass
