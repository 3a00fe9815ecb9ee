"""What changed between two recordings: owners, faults, fates of requests, and what they were made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import DECODE_ENDED
from reports.compare.matching import OUTCOMES, Outcome
from reports.evidence import Evidence
from reports.words import NOTHING, counted, number
from traces.text import shortened

#: Characters of a value that are shown.
_VALUE_CHARACTERS_MAX = 300


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


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in both recordings."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """What two recordings have in common and where they differ.

    Attributes:
        same_trace: both replayed the same requests.
        same_plan: both had the same fault rules.
        differences: everything that differs, the trace and the plan first.
        same: how many things were compared and are equal.
        warnings: sentences on why numbers may not be comparable.
    """

    same_trace: bool
    same_plan: bool
    differences: tuple[Difference, ...]
    same: int
    warnings: tuple[str, ...]


def make_likeness(before: Evidence, after: Evidence) -> Likeness:
    """Compare what two recordings were made of."""
    one, two = _made_of(before.run), _made_of(after.run)
    names = [*one, *(name for name in two if name not in one)]
    differing = [name for name in names if one.get(name) != two.get(name)]
    same_trace = before.run["trace"]["sha256"] == after.run["trace"]["sha256"]
    same_plan = before.run["plan"]["rules"] == after.run["plan"]["rules"]
    warnings = []
    if not same_trace:
        warnings.append(
            "The traces differ: gaps are matched by pool and kind only, and requests are not "
            "matched."
        )
    if not same_plan:
        warnings.append("The fault plans differ: a gap may be gone because its fault is gone.")
    for name in ("seed", "kvreplay version"):
        if name in differing:
            warnings.append(f"The {name} differs, which alone can move a gap.")
    return Likeness(
        same_trace,
        same_plan,
        tuple(Difference(name, _text(one.get(name)), _text(two.get(name))) for name in differing),
        len(names) - len(differing),
        tuple(warnings),
    )


def _made_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides what a replay comes to, by name."""
    options = {name.replace("_", " "): value for name, value in run["options"].items()}
    return {
        "trace SHA-256": run["trace"]["sha256"],
        "trace requests": run["trace"]["requests"],
        "fault rules": run["plan"]["rules"],
        **options,
        "kvreplay version": run["kvreplay"],
        **{
            f"profile: {name}": value
            for name, value in run["profile"].items()
            if name != "description"
        },
    }


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        text = f"{counted(len(value), 'rule')}: " + "; ".join(map(_rule, value))
    elif isinstance(value, list):
        text = ", ".join(map(str, value)) or "none"
    else:
        text = str(value)
    return shortened(text, _VALUE_CHARACTERS_MAX, lines=True)


def _rule(rule: Mapping[str, Any]) -> str:
    """A fault rule as its name and what of it is set."""
    told = {name: value for name, value in rule.items() if name != "name" and value}
    return f"{rule.get('name', '')} {json.dumps(told, ensure_ascii=False)}"
