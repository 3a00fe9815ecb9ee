"""One recording as the page shows it: words, numbers, charts and tables, ready for the template."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reports.evidence import Evidence
from reports.parts import tables
from reports.parts.answers import Answer, make_answers
from reports.parts.equation import Equation, make_equation
from reports.parts.facts import engine_words, fault_words, make_facts, request_words
from reports.parts.lives import Lives, make_lives
from reports.parts.tables import Table
from reports.reconcile import Check, reconcile
from reports.words import VERDICTS, counted, number, seconds, shortened

if TYPE_CHECKING:
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
    tables: tuple[Table, ...]
    #: What happened to the first owners of the worst gap; None where there is none.
    lives: Lives | None
    details: tuple[tuple[str, str], ...]
    profile: tuple[tuple[str, str], ...]
    comment: str = field(default="")

    @property
    def failed_checks(self) -> int:
        """How many of its numbers do not reconcile."""
        return sum(not check.passed for check in self.checks)


def make_section(
    evidence: Evidence, anchor: str, charts: bool = True, recordings: int = 1
) -> Section:
    """Put one recording into words, numbers and, unless they are left out, charts.

    Args:
        evidence: the recording.
        anchor: what its ids on the page start with.
        charts: whether charts are drawn.
        recordings: how many share the page; many are drawn less finely.
    """
    summary, run = evidence.summary, evidence.run
    verdict = summary["verdict"]
    sign, meaning = VERDICTS.get(verdict, ("?", "an unknown verdict"))
    died_us = summary["engine_died_us"]
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
        died=None
        if died_us is None
        else f"at {seconds(died_us)} of virtual time, in {run['engine']['died_pool']}",
        died_message=summary["engine_died_message"],
        reproduce=summary["reproduce"],
        faults=fault_words(summary["faults"]),
        requests=request_words(summary["requests"]),
        checks=(*reconcile(evidence), *chart_checks),
        charts=drawn,
        draw=None if charts else _how_to_draw(evidence),
        tables=_tables(evidence),
        lives=make_lives(evidence),
        details=_details(evidence.name, run),
        profile=tuple((name, _plain(value)) for name, value in run["profile"].items()),
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


def _how_to_draw(evidence: Evidence) -> str | None:
    """The line that draws the charts, or None where there would be none."""
    if not evidence.tables["audits"].num_rows:
        return None
    return f"kvreplay report {shlex.quote(evidence.name)}"


def _sentence(why: str) -> str:
    """The reason as a sentence; its long numbers get separators, but names are left alone."""
    if "'" not in why:
        why = re.sub(r"\d{4,}", lambda found: number(int(found.group())), why)
    return why[:1].upper() + why[1:] + "."


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
        tables.rules_table(evidence),
    ]
    return tuple(table for table in found if table.of)


def _details(name: str, run: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Enough to make the recording again, and where it was made."""
    trace, options, environment = run["trace"], run["options"], run["environment"]
    pairs = [
        ("recording", name),
        ("kvreplay", run["kvreplay"]),
        ("profile", f"{run['profile']['name']}: {run['profile']['description']}"),
        ("trace", f"{trace['path']}, {counted(trace['requests'], 'request')}"),
        ("trace SHA-256", trace["sha256"]),
        ("trace source", trace["source"]),
        ("plan", run["plan"]["source"] or "made of command-line shortcuts"),
        *((name.replace("_", " "), _plain(value)) for name, value in options.items()),
        *((f"environment: {name}", _plain(value)) for name, value in environment.items()),
    ]
    return tuple((name, str(value)) for name, value in pairs)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(each) for each in value) or "none"
    return "none" if value is None else str(value)
