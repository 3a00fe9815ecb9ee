"""One recording as the page shows it: words, numbers, charts and tables, ready for the template."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.evidence import Evidence
from reports.parts import tables
from reports.parts.answers import Answer, make_answers
from reports.parts.equation import Equation, make_equation
from reports.parts.facts import engine_words, fault_words, make_facts, request_words
from reports.parts.faults import FaultsPart, check_faults, make_faults
from reports.parts.findings import FindingsPart, make_findings
from reports.parts.findings_check import check_findings
from reports.parts.lanes import LANES_FEW, LANES_MAX, LanesPart, check_lanes, make_lanes
from reports.parts.latency import LatencyPart, check_latency, make_latency
from reports.parts.lives import Lives, make_lives
from reports.parts.made import make_details, profile_fields
from reports.parts.ownership import Ownership, make_ownership
from reports.parts.ownership_checks import check_ownership
from reports.parts.tables import Table
from reports.parts.tables_check import check_tables
from reports.reconcile import Check, reconcile
from reports.words import as_sentence, number, seconds, verdict_words
from traces.text import shortened

if TYPE_CHECKING:
    from replay.verdict.findings.suppressions import Accepted
    from reports.charts.figures import Charts


#: Characters of a heading, and of a sentence that may hold names from outside.
HEADING_CHARACTERS_MAX = 120
SENTENCE_CHARACTERS_MAX = 600


@dataclass(frozen=True, slots=True)
class Section:
    """Everything the template says about one recording."""

    anchor: str
    #: The directory as it was given, and the same short enough for a heading.
    name: str
    heading: str
    verdict: str
    sign: str
    meaning: str
    why: str
    blame: str | None
    equation: Equation | None
    #: The questions of the first screen, answered.
    answers: tuple[Answer, ...]
    facts: tuple[tuple[str, str], ...]
    engine_message: str | None
    engine_words: str
    died: str | None
    died_message: str | None
    reproduce: str
    faults: str
    requests: str
    checks: tuple[Check, ...]
    #: None where they were left out.
    charts: Charts | None
    #: The line that draws the charts of this recording, when they were left out.
    draw: str | None
    #: What is wrong, in the words of leak checkers.
    findings: FindingsPart
    #: Whose every page was at the worst gap; None where there was none.
    ownership: Ownership | None
    tables: tuple[Table, ...]
    #: What happened to the first owners of the worst gap; None where there is none.
    lives: Lives | None
    #: What both sides did with the first of them, drawn; None where there are none.
    lanes: LanesPart | None
    #: What came of every rule of the plan; None where it has none.
    fault_rules: FaultsPart | None
    #: How fast requests were served; None where there are none.
    latency: LatencyPart | None
    details: tuple[tuple[str, str], ...]
    profile: tuple[tuple[str, str], ...]
    comment: str = field(default="")

    @property
    def failed_checks(self) -> int:
        """How many of its numbers do not reconcile."""
        return sum(not check.passed for check in self.checks)


def make_section(
    evidence: Evidence,
    anchor: str,
    charts: bool = True,
    *,
    accepted: Accepted | None = None,
    baseline: Evidence | None = None,
    recordings: int = 1,
) -> Section:
    """Put one recording into words, numbers and, unless they are left out, charts.

    Args:
        evidence: the recording.
        anchor: begins every id of its part of the page.
        charts: whether charts are drawn.
        accepted: findings that a suppressions file accepts.
        baseline: the same replay without faults, if it is at hand
            (`reports.latency.baseline.baseline_of`).
        recordings: how many share the page; many are drawn less finely.
    """
    shown_tables = _tables(evidence)
    summary, run = evidence.summary, evidence.run
    verdict = summary["verdict"]
    sign, meaning = verdict_words(verdict)
    lanes = make_lanes(evidence, anchor, LANES_MAX if charts else LANES_FEW)
    rules = make_faults(evidence, lambda name: None if lanes is None else lanes.anchor_of(name))
    latency = make_latency(evidence, baseline)
    drawn, chart_checks = _charts(evidence, anchor, recordings) if charts else (None, ())
    return Section(
        anchor=anchor,
        name=evidence.name,
        heading=shortened(evidence.name, HEADING_CHARACTERS_MAX),
        verdict=verdict,
        sign=sign,
        meaning=meaning,
        why=shortened(_sentence(summary["why"]), SENTENCE_CHARACTERS_MAX),
        blame=summary["blame"],
        equation=make_equation(evidence),
        answers=make_answers(evidence),
        facts=make_facts(evidence),
        engine_message=None if summary["mismatch"] is None else summary["engine_message"],
        engine_words=engine_words(evidence),
        died=_died(evidence),
        died_message=summary["engine_died_message"],
        reproduce=summary["reproduce"],
        faults=fault_words(summary["faults"]),
        requests=request_words(summary["requests"]),
        checks=(
            *reconcile(evidence),
            *chart_checks,
            *check_ownership(evidence),
            *check_findings(evidence, evidence.findings),
            *check_tables(evidence, shown_tables),
            *(() if lanes is None else check_lanes(evidence, lanes)),
            *(() if rules is None else check_faults(evidence, rules)),
            *(() if latency is None else check_latency(evidence, latency)),
        ),
        charts=drawn,
        draw=None if charts else _how_to_draw(evidence),
        findings=make_findings(evidence, accepted),
        ownership=make_ownership(evidence, anchor),
        tables=shown_tables,
        lives=make_lives(evidence),
        lanes=lanes,
        fault_rules=rules,
        latency=latency,
        details=make_details(evidence.name, run),
        profile=profile_fields(run),
        comment=run["plan"]["comment"],
    )


def _charts(
    evidence: Evidence, anchor: str, recordings: int
) -> tuple[Charts | None, tuple[Check, ...]]:
    """The charts, checked; what draws them is imported only here, for it takes its time."""
    from reports.charts.checks import check_charts
    from reports.charts.figures import make_charts

    charts = make_charts(evidence, anchor, recordings)
    return charts, check_charts(evidence, charts)


def _died(evidence: Evidence) -> str | None:
    """When and where the real engine would have died; None where it lives."""
    died_us = evidence.summary["engine_died_us"]
    if died_us is None:
        return None
    return f"at {seconds(died_us)} of virtual time, in {evidence.run['engine']['died_pool']}"


def _how_to_draw(evidence: Evidence) -> str | None:
    """The line that draws the charts, or None where there would be none."""
    if not evidence.tables["audits"].num_rows:
        return None
    return f"kvreplay report {shlex.quote(evidence.name)}"


def _sentence(why: str) -> str:
    """The reason as a sentence; its long numbers get separators, but names are left alone."""
    if "'" not in why:
        why = re.sub(r"\d{4,}", lambda found: number(int(found.group())), why)
    return as_sentence(why)


def _tables(evidence: Evidence) -> tuple[Table, ...]:
    """The tables that have something to say."""
    found: list[Table] = []
    if (worst := evidence.worst) is not None:
        found += [
            tables.owners_table(evidence, worst),
            tables.guilty_events_table(evidence, worst),
            tables.episodes_table(evidence),
        ]
    found += [
        tables.contents_table(evidence),
        tables.unfinished_table(evidence),
    ]
    return tuple(table for table in found if table.of)
