"""Which of the four verdicts it is, why, and what is to blame: oracles asked in a fixed order.

The first one with something to say wins: wrong bytes, gaps that stay, requests that never end, pages
of the wrong owners, an engine that would have died. Then a replay that tested nothing, and last that
all is well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

from replay.recording.kinds import VerdictName
from replay.recording.reader import Recording
from replay.verdict.base import Oracle, Ruling
from replay.verdict.blame import blame
from replay.verdict.contents import Contents, read_contents
from replay.verdict.count import Count
from replay.verdict.engine_check import EngineCheck, read_engine_check
from replay.verdict.episodes import Episode
from replay.verdict.ledger import Ledger, read_ledger
from replay.verdict.liveness import Liveness, read_liveness

#: In the order in which a verdict asks them.
ORACLES: tuple[type[Oracle], ...] = (Contents, Count, Liveness, Ledger, EngineCheck)


@dataclass(frozen=True, slots=True)
class Oracles:
    """What all oracles saw in one recording, by their names, in the order in which a summary has them."""

    count: Count
    ledger: Ledger
    contents: Contents
    liveness: Liveness
    engine_check: EngineCheck

    @property
    def in_order(self) -> tuple[Oracle, ...]:
        """In the order in which a verdict asks them."""
        return tuple(getattr(self, each.name) for each in ORACLES)

    def totals(self) -> dict[str, int]:
        """What each has counted, by its name, where the recording tells."""
        totals = {field.name: getattr(self, field.name).total for field in fields(self)}
        return {name: total for name, total in totals.items() if total is not None}

    def kinds(self) -> dict[str, int]:
        """Pages by kind, of all of them."""
        kinds: Counter[str] = Counter()
        for oracle in self.in_order:
            kinds.update(oracle.kinds())
        return {kind: pages for kind, pages in sorted(kinds.items()) if pages}


def ask_oracles(recording: Recording, episodes: tuple[Episode, ...]) -> Oracles:
    """Read what every oracle saw.

    Raises:
        RecordingError: a table is missing or broken.
    """
    contents = read_contents(recording.table("contents"))
    return Oracles(
        count=Count(episodes),
        ledger=read_ledger(recording, contents),
        contents=contents,
        liveness=read_liveness(recording),
        engine_check=read_engine_check(recording),
    )


def decide(run: dict[str, Any], oracles: Oracles) -> Ruling:
    """The verdict and one sentence that says why."""
    if run["stopped_early"]:
        verdict: VerdictName = "persistent" if oracles.count.any_stuck else "inconclusive"
        return verdict, "the replay stopped where the engine would have died"
    rulings = (oracle.ruling() for oracle in oracles.in_order)
    ruling = next((each for each in rulings if each is not None), None)
    return ruling or _nothing_tested(run, oracles) or _all_well(oracles)


def put_down_to(recording: Recording, oracles: Oracles) -> str | None:
    """One sentence about the cause of the verdict; None where there is nothing to blame.

    A gap that closed is named only where nothing is worse.
    """
    sentences = (oracle.blame(recording) for oracle in oracles.in_order)
    worst = oracles.count.worst
    healed = None if worst is None else blame(recording.run, worst)
    return next((each for each in sentences if each), healed)


def objections(summary: dict[str, Any]) -> list[str]:
    """What the oracles hold against the pair itself, whatever faults it was put to.

    A good pair lets no gap stay, opens none that no fault explains, never reads wrong bytes, never
    gives a page to two owners, ends every request, and its engine neither complains nor dies.
    """
    by_name = {each.name: each for each in ORACLES}
    return [text for field in fields(Oracles) for text in by_name[field.name].objections(summary)]


def _nothing_tested(run: dict[str, Any], oracles: Oracles) -> Ruling | None:
    for silent, what in (
        (run["faults"]["never_fired"], "never fired"),
        (run["faults"]["without_effect"], "fired, and no engine could see any of it"),
    ):
        if silent:
            rules = "rule" if len(silent) == 1 else "rules"
            names = ", ".join(repr(name) for name in silent)
            return "inconclusive", f"nothing was tested: the {rules} {names} {what}"
    if not oracles.liveness.requests["total"]:
        return "inconclusive", "nothing was tested: the trace has no requests"
    return None


def _all_well(oracles: Oracles) -> Ruling:
    gaps = len(oracles.count.episodes)
    if gaps:
        return "transient", "the gap closed" if gaps == 1 else f"all {gaps} gaps closed"
    if oracles.engine_check.false_alarm_pages:
        return "transient", "the engine's own check warned, though every page had a live owner"
    return "clean", "every page was accounted for in every audit"
