"""The first part of a page on two recordings: before and after, in words, tables and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replay.verdict.episodes import Episode
from reports.compare.comparison import Comparison
from reports.compare.curves import CurvePair
from reports.evidence import Evidence
from reports.parts.equation import make_equation
from reports.parts.tables import EPISODE_ENDS, ROWS_MAX, Table, make_table
from reports.reconcile import Check
from reports.words import NOTHING, as_sentence, by_count, number, plain_seconds, verdict_words
from traces.text import shortened

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
        curves=comparison.curves,
        tables=tuple(table for table in found if table.of),
        made_of=_made_of_table(comparison),
        same=f"{number(comparison.likeness.same)} others are the same in both",
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
        changed = f"{number(len(fates.changed))} of {number(fates.requests)} ended otherwise"
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
        "what became of it|pool|direction|#before: widest gap, tokens|before: end|before: pages by kind"
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
    titles = "what became of it|request|pool|#before: pages|before: kind|#after: pages|after: kind"
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
            "How requests ended otherwise", "before|after|#requests", changes, len(fates.changes)
        ),
        make_table(
            "Requests that ended otherwise", "request|before|after", requests, len(fates.changed)
        ),
    )


def _made_of_table(comparison: Comparison) -> Table:
    differences = comparison.likeness.differences
    rows = ((each.what, each.before, each.after) for each in differences)
    return make_table("What they differ in", "what|before|after", rows, len(differences))
