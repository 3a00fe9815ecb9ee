"""A comparison as the page shows it: what became of the gap, and everything that changed with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from replay.verdict.blame import blame
from replay.verdict.episodes import Episode
from reports.compare.changes import (
    Fates,
    Faults,
    Likeness,
    OwnerChange,
    counted_by,
    fates,
    fault_changes,
    make_likeness,
    owner_changes,
)
from reports.compare.matching import OUTCOMES, Match, match_episodes
from reports.evidence import Evidence
from reports.parts.base import Check, equal
from reports.words import by_count, counted

Change = Literal["gone", "better", "unchanged", "changed", "worse", "new", "unclear"]

#: Change -> (sign, the word beside it, the class that colours both).
SIGNS: dict[Change, tuple[str, str, str]] = {
    "gone": ("\N{CHECK MARK}", "gone", "clean"),
    "better": ("\N{DOWNWARDS ARROW}", "better", "transient"),
    "unchanged": ("=", "unchanged", "soft"),
    "changed": ("\N{ALMOST EQUAL TO}", "changed", "transient"),
    "worse": ("\N{UPWARDS ARROW}", "worse", "persistent"),
    "new": ("+", "new", "persistent"),
    "unclear": ("?", "cannot tell", "inconclusive"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """How things changed, in a word and in a sentence."""

    change: Change
    sentence: str


@dataclass(frozen=True, slots=True)
class _State:
    """What decides: the verdict, what stayed open, and the widest gap, in tokens."""

    verdict: str
    lasting_tokens: int
    widest_tokens: int
    noun: str
    kinds: dict[str, int]

    @property
    def rank(self) -> tuple[int, int, int]:
        """The higher, the worse."""
        grade = ("clean", "transient", "persistent").index(self.verdict)
        return grade, self.lasting_tokens, sum(self.kinds.values())


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two recordings, before and after, and what changed between them.

    Attributes:
        before: what the first recording says.
        after: what the second one says.
        result: how things changed, in a word and a sentence.
        likeness: whether the two can be compared at all.
        matches: every episode of both, the new ones first, then the widest.
        owners: every owner of pages in a gap of either.
        faults: how the fault rules fared.
        fates: requests that ended otherwise; None where the traces differ.
        checks: whether the numbers of the comparison agree with both recordings.
    """

    before: Evidence
    after: Evidence
    result: Result
    likeness: Likeness
    matches: tuple[Match, ...]
    owners: tuple[OwnerChange, ...]
    faults: Faults
    fates: Fates | None
    checks: tuple[Check, ...]

    @property
    def sign(self) -> tuple[str, str, str]:
        """Sign, word and class of the result."""
        return SIGNS[self.result.change]

    @property
    def episode_counts(self) -> dict[str, int]:
        """Outcome -> episodes."""
        return counted_by(match.outcome for match in self.matches)

    @property
    def owner_counts(self) -> dict[str, int]:
        """Outcome -> owners."""
        return counted_by(owner.outcome for owner in self.owners)


def compare_if_two(recordings: Sequence[Evidence]) -> Comparison | None:
    """The comparison of exactly two recordings; more or fewer have none."""
    return make_comparison(*recordings) if len(recordings) == 2 else None


def make_comparison(before: Evidence, after: Evidence) -> Comparison:
    """Compare two recordings: the first is before, the second after."""
    likeness = make_likeness(before, after)
    same_trace = likeness.same_trace
    matches = _ranked(match_episodes(before.episodes, after.episodes, same_trace=same_trace))
    owners = owner_changes(before, after)
    found = fates(before, after) if same_trace else None
    return Comparison(
        before,
        after,
        make_result(before, after),
        likeness,
        matches,
        owners,
        fault_changes(before, after, same_trace=same_trace),
        found,
        _checks(before, after, matches, owners, found),
    )


def _ranked(matches: Sequence[Match]) -> tuple[Match, ...]:
    """What somebody has to act on first: the new ones, then the widest."""
    return tuple(
        sorted(
            matches,
            key=lambda each: (
                OUTCOMES.index(each.outcome),
                not each.episode.is_open,
                -abs(each.episode.gap_tokens),
                each.episode.pool,
                each.episode.number,
            ),
        )
    )


def _checks(
    before: Evidence,
    after: Evidence,
    matches: Sequence[Match],
    owners: Sequence[OwnerChange],
    found: Fates | None,
) -> tuple[Check, ...]:
    """What the comparison counts, against what each recording says of itself."""
    counts = counted_by(match.outcome for match in matches)
    kept = counts["changed"] + counts["still there"]
    checks = [
        equal(
            "episodes that disappeared + changed + still there = episodes before",
            counts["disappeared"] + kept,
            before.summary["episodes"],
        ),
        equal(
            "episodes that are new + changed + still there = episodes after",
            counts["new"] + kept,
            after.summary["episodes"],
        ),
    ]
    by_owner = counted_by(owner.outcome for owner in owners)
    kept = by_owner["changed"] + by_owner["still there"]
    for name, side, outcome in (("before", before, "disappeared"), ("after", after, "new")):
        verb = "disappeared" if outcome == "disappeared" else "are new"
        checks.append(
            equal(
                f"owners that {verb} + changed + still there = requests by pool in "
                f"owners.parquet {name}",
                by_owner[outcome] + kept,
                _owners_recorded(side),
            )
        )
    if found is not None:
        for name, side in (("before", before), ("after", after)):
            only = found.only_before if name == "before" else found.only_after
            checks.append(
                equal(
                    f"requests in both + only {name} = requests recorded {name}",
                    found.requests + only,
                    side.summary["requests"]["total"],
                )
            )
    return tuple(checks)


def _owners_recorded(evidence: Evidence) -> int:
    table = evidence.tables["owners"]
    pairs: int = table.group_by(["request_id", "pool"]).aggregate([]).num_rows
    return pairs


def episode_facts(evidence: Evidence, episode: Episode | None) -> dict[str, Any] | None:
    """An episode as data: tokens, pages, how it ended and what did it."""
    if episode is None:
        return None
    return {
        "episode": episode.number,
        "gap_tokens": episode.gap_tokens,
        "pages": episode.gap_tokens // evidence.page_size,
        "verdict": episode.verdict,
        "kinds_pages": episode.kinds,
        "opened_us": episode.opened_us,
        "closed_us": episode.closed_us,
        "requests": len({owner.request_id for owner in episode.owners}),
        "events": list(episode.cause_numbers),
        "blame": blame(evidence.run, episode),
    }


def make_result(before: Evidence, after: Evidence) -> Result:
    """Say what became of the gap between two recordings."""
    one, two = _state(before.summary), _state(after.summary)
    if "inconclusive" in (one.verdict, two.verdict):
        return Result("unclear", _unclear(one, two))
    if one.verdict != "persistent" and two.verdict == "persistent":
        healed = f"; before, {_healing(one)}" if one.verdict == "transient" else ""
        return Result("new", f"new: {_lasting(two)}, none before{healed}")
    if one.verdict == "persistent" and two.verdict != "persistent":
        healing = f"; after, {_healing(two)}" if two.verdict == "transient" else ""
        return Result(
            "gone", f"the {one.noun} is gone: {_lasting(one)} before, none after{healing}"
        )
    if one.verdict == two.verdict == "persistent":
        return _both_persistent(one, two)
    return _none_persistent(one, two)


def _both_persistent(one: _State, two: _State) -> Result:
    sizes = f"{_lasting(one)} before, {_lasting(two)} after"
    if one.rank == two.rank:
        if one.kinds == two.kinds:
            return Result("unchanged", f"unchanged: {_lasting(one)}, before and after")
        return Result(
            "changed",
            f"changed: {_lasting(one)} before and after, but of other kinds: "
            f"{by_count(one.kinds)} before, {by_count(two.kinds)} after",
        )
    if two.rank < one.rank:
        return Result("better", f"better, but not gone: {sizes}")
    return Result("worse", f"worse: {sizes}")


def _none_persistent(one: _State, two: _State) -> Result:
    """Neither keeps a gap; they may differ in what opens and heals."""
    if one.verdict == two.verdict == "clean":
        return Result("unchanged", "unchanged: no gap in either")
    widths = f"at most {_tokens(one.widest_tokens)} before, {_tokens(two.widest_tokens)} after"
    if two.verdict == "clean":
        return Result("gone", f"the gap that healed is gone: before, {_healing(one)}; after, none")
    if one.verdict == "clean":
        return Result("new", f"new: {_healing(two)}; before, none")
    if one.widest_tokens == two.widest_tokens:
        return Result("unchanged", f"unchanged: {_healing(one)} in both")
    change: Change = "better" if two.widest_tokens < one.widest_tokens else "worse"
    return Result(change, f"{change}: every gap heals in both, {widths}")


def _unclear(one: _State, two: _State) -> str:
    which = (
        "neither recording tells"
        if one.verdict == two.verdict
        else f"the recording {'before' if one.verdict == 'inconclusive' else 'after'} does not tell"
    )
    return (
        f"cannot tell: {which} whether its gap stays; open at the end: "
        f"{_tokens(one.lasting_tokens)} before, {_tokens(two.lasting_tokens)} after"
    )


def _state(summary: dict[str, Any]) -> _State:
    mismatch = summary["mismatch"]
    nouns = {"leak": "leak", "over-free": "over-free", None: "finding"}
    return _State(
        summary["verdict"],
        # Tokens missing in one pool and too many in another do not make up for each other.
        sum(map(abs, summary["final_gap"]["pools"].values())),
        0 if mismatch is None else abs(mismatch["gap"]),
        nouns.get(summary["direction"], "gap"),
        summary["kinds"],
    )


def _lasting(state: _State) -> str:
    """What never went away; where no count shows it, its pages by kind."""
    if state.lasting_tokens:
        return _tokens(state.lasting_tokens)
    return f"pages {by_count(state.kinds)}" if state.kinds else "requests that never end"


def _healing(state: _State) -> str:
    if not state.widest_tokens:
        return "a problem that heals"
    return f"a gap of at most {_tokens(state.widest_tokens)} opens and heals"


def _tokens(tokens: int) -> str:
    return "none" if not tokens else counted(tokens, "token")
