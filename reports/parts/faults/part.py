"""The rules of the fault plan: what each one says, what came of it, and why one never fired.

    met -> planned -> landed -> seen by an engine       how far the events of a rule came

A rule that never fired has tested nothing, so those come first and say why, as far as the recording
tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from faults.rule import FaultRule
from replay.recording.events import EventFact
from replay.recording.words import what_a_fault_did
from reports.evidence import Evidence
from reports.html import TEXT_CHARACTERS_MAX
from reports.parts.base import Check, Context, Part, equal
from reports.parts.faults.rule_events import RuleEvents, rule_events
from reports.parts.faults.rule_words import action, is_aimed, recorded_rule, selection
from reports.parts.faults.why_no_effect import why_never_fired, why_never_landed
from reports.words import NOTHING, counted, number, shown
from traces.text import shortened

#: Rules, and example events of each, that a page shows.
RULES_MAX = 100
EXAMPLES_MAX = 3
_NAME_MAX = 90

#: Outcome -> its sign, which says it without a colour, and the class of its badge.
_OUTCOMES = {
    "never fired": ("?", "inconclusive"),
    "never landed": ("\N{WHITE CIRCLE}", "inconclusive"),
    "without effect": ("~", "transient"),
    "changed something": ("\N{BLACK CIRCLE}", "clean"),
}


@dataclass(frozen=True, slots=True)
class ExampleEvent:
    """One event that a rule touched, in words, and where its request is drawn, if it is."""

    event: str
    request_id: str
    link: str | None
    what: str


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule and what came of it."""

    name: str
    whole_name: str | None
    fault: str
    #: Which events it is about, and what it does to them, in words.
    selection: str
    action: str
    met: str
    planned: str
    landed: str
    observed: str
    outcome: str
    sign: str
    tone: str
    #: Why it did nothing, as far as the recording tells; empty where it did something.
    why: str
    examples: tuple[ExampleEvent, ...]
    examples_shown: str


@dataclass(frozen=True, slots=True)
class FaultsPart:
    """The rules of one recording, those that never fired first."""

    rules: tuple[RuleLine, ...]
    shown: str
    #: Planned, landed and seen, of all rules together.
    totals: tuple[tuple[str, str], ...]
    never_fired: int
    #: What a rule that never fired means, where there is one.
    warning: str


def make_faults(
    evidence: Evidence, link: Callable[[str], str | None] = lambda request_id: None
) -> FaultsPart | None:
    """The rules of a recording; None where its plan has none.

    Args:
        evidence: the recording.
        link: where on the page a request is drawn, if it is.
    """
    rules = [recorded_rule(document) for document in evidence.run["plan"]["rules"]]
    if not rules:
        return None
    touched = rule_events(evidence.tables["events"], [rule.name for rule in rules])
    examples = _examples(touched)
    lines = [
        _line(evidence, rule, touched, examples.get(rule.name, ()), link)
        for rule in sorted(rules, key=lambda rule: _rank(_journal(evidence, rule.name)))
    ]
    totals = evidence.run["faults"]["totals"]
    never = sum(line.outcome == "never fired" for line in lines)
    return FaultsPart(
        rules=tuple(lines[:RULES_MAX]),
        shown=shown(min(len(lines), RULES_MAX), len(lines)) if lines else NOTHING,
        totals=tuple(
            (name, number(totals[key]))
            for name, key in (
                ("faults planned", "planned"),
                ("landed", "landed"),
                ("seen by an engine", "observed"),
                ("rules that never fired", "never_fired"),
                ("rules without effect", "without_effect"),
            )
        ),
        never_fired=never,
        warning=_warning(never),
    )


def _warning(never: int) -> str:
    if not never:
        return ""
    return (
        f"{counted(never, 'rule')} never fired, so this replay does not test what "
        f"{'it was' if never == 1 else 'they were'} meant to break: its verdict cannot be clean or "
        "transient."
    )


def _journal(evidence: Evidence, name: str) -> dict[str, int]:
    none = {"met": 0, "planned": 0, "landed": 0, "observed": 0}
    found: dict[str, int] = evidence.run["faults"]["rules"].get(name, none)
    return found


def _outcome(journal: Mapping[str, int]) -> str:
    if not journal["planned"]:
        return "never fired"
    if not journal["landed"]:
        return "never landed"
    return "changed something" if journal["observed"] else "without effect"


def _rank(journal: Mapping[str, int]) -> int:
    return list(_OUTCOMES).index(_outcome(journal))


def _line(
    evidence: Evidence,
    rule: FaultRule,
    touched: RuleEvents,
    examples: tuple[EventFact, ...],
    link: Callable[[str], str | None],
) -> RuleLine:
    name, fault = rule.name, rule.fault
    journal = _journal(evidence, name)
    outcome = _outcome(journal)
    sign, tone = _OUTCOMES[outcome]
    short, whole = shortened(name, _NAME_MAX), shortened(name, TEXT_CHARACTERS_MAX)
    rows = touched.rows.get(name, 0)
    return RuleLine(
        name=short,
        whole_name=None if short == whole else whole,
        fault=fault,
        selection=selection(rule),
        action=action(rule),
        met=number(journal["met"]),
        planned=number(journal["planned"]),
        landed=number(journal["landed"]),
        observed=number(journal["observed"]),
        outcome=outcome,
        sign=sign,
        tone=tone,
        why=_why(evidence, rule, journal, outcome, touched),
        examples=tuple(_example(each, link) for each in examples),
        examples_shown=shown(len(examples), rows) if rows else NOTHING,
    )


def _why(
    evidence: Evidence,
    rule: FaultRule,
    journal: Mapping[str, int],
    outcome: str,
    touched: RuleEvents,
) -> str:
    """Why it did nothing."""
    if outcome == "never fired":
        return why_never_fired(evidence, rule, journal["met"])
    if outcome == "never landed":
        return why_never_landed(rule, touched.missed.get(rule.name, 0))
    if outcome == "without effect":
        who = "request was" if is_aimed(rule) else "receiver was"
        return (
            f"It took effect {counted(journal['landed'], 'time')}, but no engine could notice: "
            f"no {who} told anything different, later, or twice."
        )
    return ""


def _example(event: EventFact, link: Callable[[str], str | None]) -> ExampleEvent:
    copy = f", copy {event.copy}" if event.copy else ""
    return ExampleEvent(
        event=f"event {number(event.event)}{copy}",
        request_id=shortened(event.request_id, _NAME_MAX),
        link=link(event.request_id),
        what=what_a_fault_did(event)
        + ("; no engine could see a difference" if event.observed is False else ""),
    )


def _examples(touched: RuleEvents) -> dict[str, tuple[EventFact, ...]]:
    """The first events of each rule, those that made a difference first."""
    events, found = touched.table, {}
    for name, combinations in touched.combinations.items():
        mine = events.filter(pc.is_in(events["rule"], value_set=pa.array(combinations)))
        seen = pc.fill_null(mine["observed"], False)
        best = mine.append_column("seen", pc.cast(seen, pa.int8())).sort_by(
            [("seen", "descending"), ("event", "ascending"), ("copy", "ascending")]
        )
        found[name] = tuple(EventFact.of_rows(best.slice(0, EXAMPLES_MAX)))
    return found


def check_faults(evidence: Evidence, part: FaultsPart) -> tuple[Check, ...]:
    """The rules add up to the totals, and rule by rule to the events."""
    run = evidence.run["faults"]
    rules = [rule["name"] for rule in evidence.run["plan"]["rules"]]
    journals = [_journal(evidence, name) for name in rules]
    planned = sum(journal["planned"] for journal in journals)
    never = sum(not journal["planned"] for journal in journals)
    events = rule_events(evidence.tables["events"], rules)
    wrong = [
        name
        for name, journal in zip(rules, journals, strict=True)
        if events.landed.get(name, 0) != journal["landed"]
    ]
    return (
        equal("faults planned, rule by rule = planned in all", planned, run["totals"]["planned"]),
        Check(
            "rules shown as never fired = rules that the injector says never fired",
            number(part.never_fired),
            number(len(run["never_fired"])),
            part.never_fired == never == len(run["never_fired"]),
        ),
        Check(
            "rule by rule, faults seen in the events = faults landed in the journal",
            f"{number(len(rules) - len(wrong))} agree",
            f"{counted(len(rules), 'rule')} in all",
            not wrong,
        ),
    )


def _make(context: Context) -> FaultsPart | None:
    lanes = context.made.get("lanes")
    link = (lambda name: None) if lanes is None else lanes.anchor_of
    return make_faults(context.evidence, link)


FAULTS = Part("faults", _make, check_faults, "Fault rules", "fault_rules")
