"""Which rows of events.parquet are whose: rules by the events that they touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from faults.kinds.registry import kinds_in
from replay.recording.kinds import Outcome

#: Stands between the rules, and the faults, of one event.
_AND = " + "


@dataclass(slots=True)
class RuleEvents:
    """What the events say of each rule, by its name."""

    #: The rows that any rule touched.
    table: pa.Table
    #: What stands in the column `rule` of this rule's events.
    combinations: dict[str, list[str]] = field(default_factory=dict)
    #: Rows, faults that came about, and strikes that found another state.
    rows: dict[str, int] = field(default_factory=dict)
    landed: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)


def rule_events(events: pa.Table, names: Sequence[str]) -> RuleEvents:
    """Count the events of every rule; no loop is over events, so millions are no matter.

    A rule's copies of one event are one fault. Of an event that has not come before the end only
    what holds it back has come about.
    """
    touched = events.filter(pc.is_valid(events["rule"]))
    found = RuleEvents(touched)
    missed = pc.equal(touched["outcome"], Outcome.MISSED.value)
    arrived = pc.is_valid(touched["delivered_us"])
    lost = pc.equal(touched["outcome"], Outcome.LOST.value)
    held = pc.and_(pc.invert(pc.or_(arrived, lost)), pc.fill_null(touched["observed"], False))
    columns = {
        "rule": touched["rule"],
        "fault": touched["fault"],
        "event": touched["event"],
        "is_copy": pc.greater(touched["copy"], 0),
        "is_missed": missed,
        "is_whole": pc.and_(pc.or_(arrived, lost), pc.invert(missed)),
        "is_held": held,
    }
    keys = ["rule", "fault", "is_copy", "is_missed", "is_whole", "is_held"]
    groups = pa.table(columns).group_by(keys, use_threads=False)
    counts = groups.aggregate([("event", "count"), ("event", "count_distinct")])
    for row in counts.to_pylist():
        for rule, fault in _pairs(row["rule"], row["fault"], names):
            found.rows[rule] = found.rows.get(rule, 0) + row["event_count"]
            combinations = found.combinations.setdefault(rule, [])
            if row["rule"] not in combinations:
                combinations.append(row["rule"])
            if row["is_missed"]:
                found.missed[rule] = found.missed.get(rule, 0) + row["event_count"]
            elif row["is_whole"] or (row["is_held"] and _shows_when_late(fault)):
                came = row["event_count_distinct"] if row["is_copy"] else row["event_count"]
                found.landed[rule] = found.landed.get(rule, 0) + came
    return found


def _shows_when_late(fault: str) -> bool:
    """Whether the fault has come about even though the event has not arrived."""
    return any("late" in kind.shows for kind in kinds_in(fault))


def _pairs(text: str, fault: str | None, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Each rule of an event with its fault.

    A name may itself hold what joins them, so it is read as different rules, as many as there are
    faults. What cannot be read so, or is of no rule of the plan, stays whole.
    """
    faults = (fault or "").split(_AND)
    rules = _read(text, len(faults), frozenset(names))
    return ((text, faults[0]),) if rules is None else tuple(zip(rules, faults, strict=True))


def _read(text: str, count: int, names: frozenset[str]) -> tuple[str, ...] | None:
    """The text as so many names, all different, or None."""
    if count == 1:
        return (text,) if text in names else None
    for name in sorted(names):
        if text.startswith(name + _AND):
            rest = _read(text[len(name) + len(_AND) :], count - 1, names - {name})
            if rest is not None:
                return name, *rest
    return None
