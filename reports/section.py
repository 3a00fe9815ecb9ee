"""One recording as the page shows it: words, numbers, charts and tables, ready for the template."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reports.evidence import Evidence
from reports.parts import tables
from reports.parts.lives import Lives, make_lives
from reports.parts.ownership import Ownership, make_ownership
from reports.parts.ownership_checks import check_ownership
from reports.parts.tables import Table
from reports.reconcile import Check, reconcile
from reports.words import VERDICTS, by_count, counted, direction, growth, number, seconds

if TYPE_CHECKING:
    from reports.charts.figures import Figure


@dataclass(frozen=True, slots=True)
class Equation:
    """Both sides of the broken equation, and the gap in whole pages."""

    pool: str
    when: str
    terms: tuple[tuple[str, str], ...]
    accounted: str
    total: str
    gap: str
    pages: str
    page_size: str
    quiet: bool


@dataclass(frozen=True, slots=True)
class Section:
    """Everything the template says about one recording."""

    anchor: str
    name: str
    verdict: str
    sign: str
    meaning: str
    why: str
    blame: str | None
    equation: Equation | None
    facts: tuple[tuple[str, str], ...]
    engine_message: str | None
    engine_words: str
    died: str | None
    died_message: str | None
    reproduce: str
    faults: str
    requests: str
    checks: tuple[Check, ...]
    figures: tuple[Figure, ...]
    #: The line that draws the charts of this recording, when they were left out.
    draw: str | None
    #: Whose every page was at the worst gap; None where there was none.
    ownership: Ownership | None
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


def make_section(evidence: Evidence, anchor: str, charts: bool = True) -> Section:
    """Put one recording into words, numbers and, unless they are left out, charts."""
    summary, run = evidence.summary, evidence.run
    verdict = summary["verdict"]
    sign, meaning = VERDICTS.get(verdict, ("?", "an unknown verdict"))
    died_us = summary["engine_died_us"]
    return Section(
        anchor=anchor,
        name=evidence.name,
        verdict=verdict,
        sign=sign,
        meaning=meaning,
        why=_sentence(summary["why"]),
        blame=summary["blame"],
        equation=make_equation(evidence),
        facts=_facts(evidence),
        engine_message=None if summary["mismatch"] is None else summary["engine_message"],
        engine_words=_engine_words(evidence),
        died=None
        if died_us is None
        else f"at {seconds(died_us)} of virtual time, in {run['engine']['died_pool']}",
        died_message=summary["engine_died_message"],
        reproduce=summary["reproduce"],
        faults=_faults(summary["faults"]),
        requests=_requests(summary["requests"]),
        checks=(*reconcile(evidence), *check_ownership(evidence)),
        figures=_figures(evidence, anchor) if charts else (),
        draw=None if charts else _how_to_draw(evidence),
        ownership=make_ownership(evidence, anchor),
        tables=_tables(evidence),
        lives=make_lives(evidence),
        details=_details(run),
        profile=tuple((name, _plain(value)) for name, value in run["profile"].items()),
        comment=run["plan"]["comment"],
    )


def _figures(evidence: Evidence, anchor: str) -> tuple[Figure, ...]:
    """The charts; what draws them is imported only here, for it takes its time."""
    from reports.charts.figures import make_figures

    return make_figures(evidence, anchor)


def _how_to_draw(evidence: Evidence) -> str | None:
    """The line that draws the charts, or None where there would be none."""
    if evidence.summary["mismatch"] is None:
        return None
    return f"kvreplay report {shlex.quote(evidence.name)}"


def _sentence(why: str) -> str:
    """The reason as a sentence; its long numbers get separators, but names are left alone."""
    if "'" not in why:
        why = re.sub(r"\d{4,}", lambda found: number(int(found.group())), why)
    return why[:1].upper() + why[1:] + "."


def make_equation(evidence: Evidence) -> Equation | None:
    """The equation that the mismatch breaks, or None when nothing is missing."""
    mismatch = evidence.summary["mismatch"]
    if mismatch is None:
        return None
    parts = {name: mismatch[name] for name in ("available", "evictable", "protected")}
    if not mismatch["quiet"]:
        rows = evidence.tables["audits"].filter(_is_audit(evidence, mismatch["audit"]))
        row = rows.to_pylist()[0]
        parts |= {"live": row["live"], "in transfer": row["in_transfer"]}
    return Equation(
        pool=mismatch["pool"],
        when=seconds(mismatch["time_us"]),
        terms=tuple((name, number(value)) for name, value in parts.items()),
        accounted=number(sum(parts.values())),
        total=number(mismatch["total"]),
        gap=number(mismatch["gap"]),
        pages=number(mismatch["pages"]),
        page_size=number(mismatch["page_size"]),
        quiet=mismatch["quiet"],
    )


def _is_audit(evidence: Evidence, audit: int) -> Any:
    import pyarrow.compute as pc

    return pc.equal(evidence.tables["audits"]["audit"], audit)


def _facts(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """What stands beside the equation, as name and value."""
    summary = evidence.summary
    facts = []
    if summary["kinds"]:
        facts.append(("Pages by kind", by_count(summary["kinds"])))
    if summary["mismatch"] is not None:
        final = summary["final_gap"]
        facts += [
            ("Direction", direction(summary["direction"])),
            ("Growth", growth(summary["growth"])),
            (
                "Left when healing ended",
                f"{counted(final['pages'], 'page')} in {counted(len(final['pools']), 'pool')}",
            ),
            (
                "Episodes",
                f"{number(summary['episodes'])}, of which "
                f"{number(summary['episodes_open'])} never closed",
            ),
        ]
    oracles = summary["oracles"]
    return (
        *facts,
        ("Requests", _requests(summary["requests"])),
        ("Faults", _faults(summary["faults"])),
        (
            "Oracles",
            f"counts: {counted(oracles['count'], 'gap')}; page ledger: "
            f"{counted(oracles['ledger'], 'violation')}; page contents: "
            f"{counted(oracles['contents'], 'wrong page')}; liveness: "
            f"{counted(oracles['liveness'], 'request')} never ended",
        ),
        (
            "Audits",
            f"{number(summary['audits'])} over {seconds(summary['virtual_us'])} of virtual time",
        ),
    )


def _engine_words(evidence: Evidence) -> str:
    """Whether the engine's own check ran, ran while a gap was open, and said something."""
    import pyarrow.compute as pc

    audits = evidence.tables["audits"]
    ran = audits.filter(pc.not_equal(audits["engine_check"], "none"))
    during = pc.sum(pc.not_equal(ran["gap"], 0)).as_py() or 0
    fired = pc.sum(pc.equal(ran["engine_check"], "fired")).as_py() or 0
    times = f"{counted(ran.num_rows, 'time')}, {number(during)} of them while its pool had a gap"
    if fired:
        return f"The engine's own check ran {times}, and fired {counted(fired, 'time')}."
    return f"The engine's own check ran {times}, and stayed silent."


def _faults(faults: dict[str, int]) -> str:
    if not faults["planned"] and not faults["never_fired"]:
        return "none planned"
    text = f"{number(faults['landed'])} landed of {number(faults['planned'])} planned"
    if faults["never_fired"]:
        text += f"; {counted(faults['never_fired'], 'rule')} never fired"
    if faults["without_effect"]:
        text += f"; {counted(faults['without_effect'], 'rule')} without effect"
    return text


def _requests(counts: dict[str, int]) -> str:
    named = [f"{number(counts['finished'])} finished"]
    named += [
        f"{number(counts[state])} {state}"
        for state in ("aborted", "failed", "stuck")
        if counts[state]
    ]
    return f"{', '.join(named)}, of {number(counts['total'])}"


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


def _details(run: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Enough to make the recording again, and where it was made."""
    trace, options, environment = run["trace"], run["options"], run["environment"]
    pairs = [
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
