"""The first part of a page on two recordings: before and after, in words, tables and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup

from replay.verdict.episodes import Episode
from reports.compare.comparison import Comparison
from reports.drawings.step_chart import MEDIUM, NARROW, Chart, svg_of, time_axis
from reports.drawings.steps import Span, Steps, total_steps
from reports.drawings.timeline import gap_panel, phases
from reports.evidence import Evidence
from reports.parts.base import Check
from reports.parts.first_screen.part import make_equation
from reports.parts.tables.part import EPISODE_ENDS
from reports.tables import ROWS_MAX, Table, make_table
from reports.words import (
    NOTHING,
    as_sentence,
    by_count,
    number,
    plain_seconds,
    seconds,
    verdict_words,
)
from traces.text import shortened

#: Stretches of time in the table behind a pair of curves.
_BINS = 12
#: Characters of a recording's name in the comparison; its section says it in full.
NAME_CHARACTERS_MAX = 120


@dataclass(frozen=True, slots=True)
class Head:
    """One of the two, in words: its verdict, and the equation as name and value."""

    title: str
    name: str
    verdict: str
    sign: str
    meaning: str
    pool: str | None
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One gap over virtual time, drawn in two sizes."""

    title: str
    #: What somebody who does not see it is told.
    label: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True, slots=True)
class CurvePair:
    """The same pool in both recordings, on the same axes."""

    title: str
    curves: tuple[Curve, Curve]
    #: Stretch of time, widest gap before, widest gap after: the numbers behind both.
    table: Table


@dataclass(frozen=True, slots=True)
class ComparisonPart:
    """Everything the template says about a comparison."""

    sign: str
    word: str
    colour: str
    sentence: str
    warnings: tuple[str, ...]
    heads: tuple[Head, Head]
    #: What became of episodes and owners, counted.
    counts: tuple[tuple[str, str], ...]
    curves: tuple[CurvePair, ...]
    tables: tuple[Table, ...]
    #: Differences in what they were made of, and how much is the same.
    made_of: Table
    same: str
    checks: tuple[Check, ...]

    @property
    def failed_checks(self) -> int:
        """How many of its numbers do not reconcile."""
        return sum(not check.passed for check in self.checks)


def make_comparison_part(comparison: Comparison) -> ComparisonPart:
    """Put a comparison into words and tables."""
    sign, word, colour = comparison.sign
    found = (
        _episodes_table(comparison),
        _owners_table(comparison),
        _faults_table(comparison),
        *_fates_tables(comparison),
    )
    return ComparisonPart(
        sign=sign,
        word=word,
        colour=colour,
        sentence=as_sentence(comparison.result.sentence),
        warnings=comparison.likeness.warnings,
        heads=(_head("Before", comparison.before), _head("After", comparison.after)),
        counts=_counts(comparison),
        curves=make_curves(comparison.before, comparison.after),
        tables=tuple(table for table in found if table.of),
        made_of=_made_of_table(comparison),
        same=f"{number(comparison.likeness.same)} other settings are the same in both",
        checks=comparison.checks,
    )


def _head(title: str, evidence: Evidence) -> Head:
    verdict = evidence.summary["verdict"]
    sign, meaning = verdict_words(verdict)
    equation = make_equation(evidence)
    name = shortened(evidence.name, NAME_CHARACTERS_MAX)
    if equation is None:
        return Head(title, name, verdict, sign, meaning, None, ())
    return Head(
        title,
        name,
        verdict,
        sign,
        meaning,
        f"{equation.pool} at {equation.when}",
        (
            *equation.terms,
            ("accounted", equation.accounted),
            ("total", equation.total),
            ("gap", f"{equation.gap} tokens"),
            ("in pages", f"{equation.pages} of {equation.page_size}"),
        ),
    )


def _counts(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    counts = [
        ("Episodes", _told(comparison.episode_counts)),
        ("Owners of pages in a gap", _told(comparison.owner_counts)),
    ]
    if comparison.faults.touched is not None:
        both, before, after = comparison.faults.touched
        counts.append(
            (
                "Events that faults touched",
                f"{number(both)} the same in both, {number(before)} only before, "
                f"{number(after)} only after",
            )
        )
    if (fates := comparison.fates) is not None:
        changed = f"{number(len(fates.changed))} of {number(fates.requests)} ended differently"
        if fates.only_before or fates.only_after:
            changed += (
                f"; {number(fates.only_before)} only before, {number(fates.only_after)} only after"
            )
        counts.append(("Requests", changed))
    return tuple(counts)


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number(count)} {name}" for name, count in counts.items())


def _episodes_table(comparison: Comparison) -> Table:
    rows = (
        (
            match.outcome,
            match.episode.pool,
            match.episode.direction,
            *_gap(match.before, comparison.before),
            *_gap(match.after, comparison.after),
        )
        for match in comparison.matches[:ROWS_MAX]
    )
    titles = (
        "outcome|pool|direction|#before: widest gap, tokens|before: end|before: pages by kind"
        "|#after: widest gap, tokens|after: end|after: pages by kind"
    )
    return make_table("Episodes, before and after", titles, rows, len(comparison.matches))


def _gap(episode: Episode | None, evidence: Evidence) -> tuple[str, str, str]:
    if episode is None:
        return NOTHING, "none", NOTHING
    end = EPISODE_ENDS[episode.verdict]
    when = f"{plain_seconds(episode.opened_us)} s to {plain_seconds(episode.closed_us)} s"
    told = end if episode.closed_us is None else f"{end}, {when}"
    return number(episode.gap_tokens), told, by_count(episode.kinds)


def _owners_table(comparison: Comparison) -> Table:
    rows = (
        (
            owner.outcome,
            owner.request_id,
            owner.pool,
            number(owner.before_pages),
            owner.before_kind or NOTHING,
            number(owner.after_pages),
            owner.after_kind or NOTHING,
        )
        for owner in comparison.owners[:ROWS_MAX]
    )
    titles = "outcome|request|pool|#before: pages|before: kind|#after: pages|after: kind"
    return make_table("Owners of pages in a gap", titles, rows, len(comparison.owners))


def _faults_table(comparison: Comparison) -> Table:
    rules = comparison.faults.rules
    rows = (
        (
            change.rule,
            *(
                NOTHING if journal is None else number(journal[name])
                for name in ("planned", "landed", "observed")
                for journal in (change.before, change.after)
            ),
        )
        for change in rules[:ROWS_MAX]
    )
    titles = (
        "rule|#planned before|#planned after|#landed before|#landed after"
        "|#seen by an engine before|#seen by an engine after"
    )
    return make_table("Fault rules, before and after", titles, rows, len(rules))


def _fates_tables(comparison: Comparison) -> tuple[Table, ...]:
    fates = comparison.fates
    if fates is None:
        return ()
    changes = ((before, after, number(count)) for (before, after), count in fates.changes.items())
    requests = ((fate.request_id, fate.before, fate.after) for fate in fates.changed[:ROWS_MAX])
    return (
        make_table(
            "How requests ended differently", "before|after|#requests", changes, len(fates.changes)
        ),
        make_table(
            "Requests that ended differently", "request|before|after", requests, len(fates.changed)
        ),
    )


def _made_of_table(comparison: Comparison) -> Table:
    differences = comparison.likeness.differences
    rows = ((each.what, each.before, each.after) for each in differences)
    return make_table("Differences", "what|before|after", rows, len(differences))


def make_curves(before: Evidence, after: Evidence) -> tuple[CurvePair, ...]:
    """The pools of both mismatches, and all pools together where more than one has a gap."""
    pools = list(dict.fromkeys(_mismatch_pools(before) + _mismatch_pools(after)))
    faulty = sorted({*_faulty_pools(before), *_faulty_pools(after)})
    end_us = max(before.end_us, after.end_us, 1)
    pairs = []
    if len(faulty) > 1:
        sums = [
            total_steps({pool: _steps(each, pool) for pool in faulty}) for each in (before, after)
        ]
        pairs.append(_pair("All pools together", before, after, sums, end_us))
    for pool in pools:
        series = [_steps(each, pool) for each in (before, after)]
        pairs.append(_pair(pool, before, after, series, end_us))
    return tuple(pairs)


def _mismatch_pools(evidence: Evidence) -> list[str]:
    mismatch = evidence.summary["mismatch"]
    return [] if mismatch is None else [mismatch["pool"]]


def _faulty_pools(evidence: Evidence) -> list[str]:
    audits = evidence.tables["audits"]
    faulty = audits.filter(pc.not_equal(audits["gap"], 0))
    names: list[str] = pc.unique(faulty["pool"]).to_pylist()
    return names


def _steps(evidence: Evidence, pool: str) -> Steps:
    """The gap of a pool over the whole replay; empty where the recording has no such pool."""
    rows = evidence.rows("audits", "pool", pool)
    steps = Steps(rows["time_us"].to_numpy(), rows["gap"].to_numpy())
    return steps.window(0, max(evidence.end_us, 1)) if len(steps) else steps


def _pair(
    title: str, before: Evidence, after: Evidence, series: Sequence[Steps], end_us: int
) -> CurvePair:
    ends = [end for steps in series for end in steps.extremes()]
    one, two = (
        _curve(f"{name}, {title}", each, steps, (min(ends), max(ends)), end_us)
        for name, each, steps in zip(("Before", "After"), (before, after), series, strict=True)
    )
    edges = [end_us * at // _BINS for at in range(_BINS + 1)]
    rows = (
        (
            f"{seconds(start)} to {seconds(end)}",
            *(number(_widest(each, start, end)) for each in series),
        )
        for start, end in pairwise(edges)
    )
    titles = "virtual time|#before: widest gap, tokens|#after: widest gap, tokens"
    return CurvePair(
        title, (one, two), make_table(f"Widest gap by time: {title}", titles, rows, _BINS)
    )


def _curve(
    title: str, evidence: Evidence, steps: Steps, ends: tuple[int, int], end_us: int
) -> Curve:
    low, high = steps.extremes()
    last = int(steps.value[-1]) if len(steps) else 0
    shaded = phases(evidence, Span("", 0, max(evidence.end_us, 1)))
    wide, narrow = (
        svg_of(
            Chart(
                time_axis(0, end_us, size),
                (gap_panel("gap, tokens", steps, ends, size, size.panel),),
                shaded,
            ),
            size,
        )
        for size in (MEDIUM, NARROW)
    )
    return Curve(
        title.partition(",")[0],
        f"{title}: the gap lies between {number(low)} and {number(high)} tokens and is "
        f"{number(last)} at the end.",
        wide,
        narrow,
    )


def _widest(steps: Steps, start_us: int, end_us: int) -> int | None:
    """The value farthest from zero within a stretch; None after the end of a replay."""
    if not len(steps) or start_us >= int(steps.time_us[-1]):
        return None
    value = steps.window(start_us, end_us).value
    return int(value[np.argmax(np.abs(value))])
