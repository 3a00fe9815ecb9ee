"""What changed between two recordings, piece by piece: owners, faults, and fates of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import DECODE_ENDED
from reports.compare.matching import OUTCOMES, Outcome
from reports.evidence import Evidence


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """A request's pages in the gaps of one pool: the most of them at once, and of which kind."""

    request_id: str
    pool: str
    before_pages: int
    before_kind: str | None
    after_pages: int
    after_kind: str | None

    @property
    def outcome(self) -> Outcome:
        """New, disappeared, changed or still there."""
        if self.before_kind is None:
            return "new"
        if self.after_kind is None:
            return "disappeared"
        same = (self.before_pages, self.before_kind) == (self.after_pages, self.after_kind)
        return "still there" if same else "changed"


@dataclass(frozen=True, slots=True)
class RuleChange:
    """How one fault rule fared in both; None where the recording has no such rule."""

    rule: str
    before: Mapping[str, int] | None
    after: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Faults:
    """Rules on both sides, and which events they touched."""

    rules: tuple[RuleChange, ...]
    #: Events that rules touched in both, only before, only after; None if the traces differ.
    touched: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Fate:
    """How one request ended in either recording."""

    request_id: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Fates:
    """Requests of the trace that ended otherwise."""

    requests: int
    #: (fate before, fate after) -> how many requests.
    changes: dict[tuple[str, str], int]
    #: Those that changed, in the order of their names.
    changed: tuple[Fate, ...]
    only_before: int
    only_after: int


def owner_changes(before: Evidence, after: Evidence) -> tuple[OwnerChange, ...]:
    """Everybody who had pages in a gap of either, those that are new or changed most first."""
    one, two = _owners(before), _owners(after)
    changes = [
        OwnerChange(
            name, pool, *one.get((name, pool), (0, None)), *two.get((name, pool), (0, None))
        )
        for name, pool in {**one, **two}
    ]
    return tuple(
        sorted(
            changes,
            key=lambda each: (
                OUTCOMES.index(each.outcome),
                -max(abs(each.before_pages), abs(each.after_pages)),
                each.pool,
                each.request_id,
            ),
        )
    )


def _owners(evidence: Evidence) -> dict[tuple[str, str], tuple[int, str]]:
    """(request, pool) -> its largest stay in a gap: pages and kind."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for episode in evidence.episodes:
        for owner in episode.owners:
            key = owner.request_id, owner.pool
            if abs(owner.pages) > abs(found.get(key, (0, ""))[0]):
                found[key] = owner.pages, owner.kind
    return found


def fault_changes(before: Evidence, after: Evidence, *, same_trace: bool) -> Faults:
    """How the rules of both plans fared, and how many events they touched on both sides."""
    one, two = _rules(before.run), _rules(after.run)
    rules = tuple(RuleChange(name, one.get(name), two.get(name)) for name in {**one, **two})
    if not same_trace:
        return Faults(rules, None)
    left, right = _touched(before), _touched(after)
    return Faults(rules, (len(left & right), len(left - right), len(right - left)))


def _rules(run: Mapping[str, Any]) -> dict[str, Mapping[str, int]]:
    journal = run["faults"]["rules"]
    none = {"met": 0, "planned": 0, "landed": 0, "observed": 0}
    return {rule["name"]: journal.get(rule["name"], none) for rule in run["plan"]["rules"]}


def _touched(evidence: Evidence) -> set[tuple[Any, ...]]:
    """Events that a rule touched, by what they are about: numbers may differ between replays."""
    events = evidence.tables["events"]
    rows = events.filter(events["rule"].is_valid())
    names = ("request_id", "direction", "prefill_tp_rank", "decode_tp_rank", "copy", "fault")
    return set(zip(*(rows[name].to_pylist() for name in names), strict=True))


def fates(before: Evidence, after: Evidence) -> Fates:
    """Compare how the requests of the trace itself ended; repeat cycles are left out."""
    one, two = _fates(before, "before"), _fates(after, "after")
    both = one.join(two, "request_id", join_type="inner")
    changed = both.filter(pc.not_equal(both["before"], both["after"])).sort_by("request_id")
    columns = (changed[name].to_pylist() for name in ("request_id", "before", "after"))
    found = tuple(Fate(*row) for row in zip(*columns, strict=True))
    return Fates(
        requests=both.num_rows,
        changes=dict(Counter((fate.before, fate.after) for fate in found).most_common()),
        changed=found,
        only_before=one.num_rows - both.num_rows,
        only_after=two.num_rows - both.num_rows,
    )


def _fates(evidence: Evidence, name: str) -> pa.Table:
    requests = evidence.tables["requests"]
    first = requests.filter(pc.equal(requests["cycle"], 0))
    state = first["decode_state"]
    stuck = pc.binary_join_element_wise("never ended, in the state ", state, "")
    fate = pc.if_else(pc.is_in(state, pa.array(DECODE_ENDED)), state, stuck)
    return pa.table({"request_id": first["request_id"], name: fate})


def counted_by(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many of each outcome there are, also of those that did not come about."""
    counts = Counter(outcomes)
    return {name: counts[name] for name in OUTCOMES}
