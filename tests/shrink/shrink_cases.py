"""Small cases that go wrong, drawn from a seed, and small recordings of them."""

from __future__ import annotations

from dataclasses import dataclass

from replay.errors import ProfileError
from replay.profiles.catalogue import find_profile
from replay.reproduce.hunt import Find, draw_case, hunt
from replay.run.session import SessionOptions
from replay.shrink.case import Case
from replay.shrink.in_memory import replay_in_memory
from replay.shrink.outcome import outcome_of
from replay.shrink.place import Journal
from replay.shrink.search import Budget, Goal, Search
from replay.shrink.shrinker import shrink
from traces.schema import TraceRequest


@dataclass(frozen=True)
class Shrunk:
    case: Case
    goal: Goal
    tried: int
    minimal: bool


def schedule_case(seed: int, profile: str = "sglang-0.4.6.post4") -> Case:
    """The case of a seed, or of the next whose topology this engine takes."""
    while True:
        try:
            return draw_case(seed, find_profile(profile), ())
        except ProfileError:
            seed += 1


def find(defect: str, first: int = 0) -> Find:
    found = hunt("hardened", (defect,), range(first, first + 400))
    assert found is not None
    return found


def goal_of(case: Case) -> Goal | None:
    recording, verdict = replay_in_memory(case.to_request())
    outcome = outcome_of(verdict.summary, recording.run)
    return None if outcome is None else Goal(outcome)


def shrunk(case: Case, goal: Goal, journal: Journal | None = None, **budget: float) -> Shrunk:
    search = Search(case, goal, Journal(None, {}) if journal is None else journal, Budget(**budget))
    minimal = shrink(search)
    return Shrunk(search.case, goal, search.tried, minimal)


def plain_case(requests: int = 6, **changes: object) -> Case:
    """Some requests on the small side of SGLang 0.4.6.post4, which never times out."""
    rows = tuple(TraceRequest(f"a{n}", 50_000 * n, 300 + n, 20) for n in range(requests))
    fields = {
        "requests": rows,
        "block_size": None,
        "profile": "sglang-0.4.6.post4",
        "defects": (),
        "settings": (("total_tokens", 64_000), ("prefill_total_tokens", 64_000)),
        "rules": (),
        "options": SessionOptions(),
    }
    return Case(**(fields | changes))  # type: ignore[arg-type]
