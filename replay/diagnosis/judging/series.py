"""One series of accounting checks and one of loads for every engine, server, rank and pool.

A server is a log file with its rotations (`serve.log.1`, `serve.log.2.gz`). A scheduler that raised
or crashed starts again with an empty pool: nothing that it printed before can heal or grow after.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replay.diagnosis.judging.bounded_history import BoundedHistory
from replay.diagnosis.judging.gap_run import GapRun
from replay.diagnosis.judging.load_watch import LoadWatch
from replay.server_lines.records import TOKEN_POOLS, Load, Observation

#: A request that runs has more than this, as a rule.
SHORT_REQUEST_TOKENS = 64
#: Earlier lives of an engine that are kept, the latest ones.
_LIVES_MAX = 16


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Whose pool a series is about."""

    engine: str
    #: The log without what rotation adds to its name, and the pod or container in it.
    server: str
    instance: str
    rank: str
    pool: str


def _counts(observation: Observation) -> object:
    return (observation.gap, observation.total, observation.raised)


@dataclass(slots=True)
class Checks:
    """The accounting checks of one pool in one life of its engine."""

    quiet: GapRun = field(default_factory=GapRun)
    #: Checks in the middle of work; they show a gap, not whether it stays.
    busy: GapRun = field(default_factory=GapRun)
    #: The last line with a gap, and the widest of the open run.
    last_wrong: Observation | None = None
    widest: Observation | None = None
    #: The load just before the gap opened.
    load_before: Load | None = None
    #: A load with less in use than the gap that was open: it cannot be there any more.
    disproof: Load | None = None
    raised: bool = False
    #: A load whose requests use hardly more than the gap that was open: likely it is theirs.
    doubt: Load | None = None

    def add(self, observation: Observation, load_before: Load | None) -> None:
        """Take the next check."""
        run = self.busy if observation.busy else self.quiet
        if observation.gap:
            if not self.quiet.is_open and not self.busy.is_open:
                self.load_before, self.widest = load_before, observation
                self.disproof = self.doubt = None
            elif self.widest is None or abs(observation.gap) >= abs(self.widest.gap):
                self.widest = observation
            self.last_wrong = observation
            run.add(observation.gap, observation.place)
        else:
            run.add(0, observation.place)
            # The equation holds at this moment, so what was open anywhere has gone.
            self.quiet.close(observation.place)
            self.busy.close(observation.place)
        self.raised = self.raised or observation.raised

    def note_load(self, load: Load) -> None:
        """The engine worked on; less in use than the gap means that it has gone."""
        used = load.used_tokens
        if used is None and load.usage == 0 and self.last_wrong is not None:
            # Printed with two digits: less than a hundredth of the pool.
            used = self.last_wrong.total // 100
        for run in (self.quiet, self.busy):
            run.note_work()
            if used is None or not run.is_open:
                continue
            if used < run.last:
                run.close(load.place)
                self.disproof = load
            elif _is_likely_of_running(load, used - run.last):
                # The gap may be pages of requests that run now, whose KV was in transfer then.
                run.forget()
                self.doubt = load


def _is_likely_of_running(load: Load, rest: float) -> bool:
    """Whether usage beyond the gap is too small for the running requests."""
    return (
        bool(load.running)
        and load.pool in TOKEN_POOLS
        and (rest < SHORT_REQUEST_TOKENS * (load.running or 0))
    )


@dataclass(slots=True)
class Series:
    """Everything kept of one rank's pool."""

    key: SeriesKey
    observations: BoundedHistory[Observation] = field(
        default_factory=lambda: BoundedHistory(_counts)
    )
    checks: Checks = field(default_factory=Checks)
    loads: LoadWatch = field(default_factory=LoadWatch)
    #: What checks and loads of earlier lives came to, the latest few.
    earlier: list[tuple[Checks, LoadWatch]] = field(default_factory=list)
    deaths: int = 0
    loads_total: int = 0
    _is_dead: bool = False

    def add_observation(self, observation: Observation) -> None:
        """Take an accounting line."""
        if self._is_dead and not self._same_death(observation):
            self._start_again()
        self.observations.add(observation)
        self.checks.add(observation, self.loads.last)
        if observation.raised:
            self.die()

    def add_load(self, load: Load) -> None:
        """Take a status line or a scrape."""
        if self._is_dead:
            self._start_again()
        self.loads_total += 1
        self.checks.note_load(load)
        self.loads.add(load)

    def die(self) -> None:
        """The engine raised or crashed."""
        if not self._is_dead:
            self.deaths += 1
        self._is_dead = True

    def _same_death(self, observation: Observation) -> bool:
        """A message is printed by the exception, by its traceback and by a supervisor."""
        before = self.checks.last_wrong
        return observation.raised and (before is None or observation.gap == before.gap)

    def _start_again(self) -> None:
        self._is_dead = False
        self.earlier.append((self.checks, self.loads))
        del self.earlier[:-_LIVES_MAX]
        self.checks, self.loads = Checks(), LoadWatch()


def dp_rank(rank: str) -> str:
    """The DP rank in the ranks of a line; empty where they name none."""
    return next((part for part in rank.split() if part.startswith("DP")), "")


def who(series: Series) -> str:
    """Whose pool it is, as a sentence begins."""
    key = series.key
    pool = "" if key.pool == "full" else f"pool {key.pool}"
    return " ".join(part for part in (key.engine, key.instance, key.rank, pool) if part)
