"""A comparison as the page shows it: what became of the gap, and everything that changed with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from reports.compare.sentences import SIGNS, Result, make_result
from reports.evidence import Evidence
from reports.parts.base import Check, equal


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
