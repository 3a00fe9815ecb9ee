"""What is wrong, in the words of leak checkers: a leak summary, and loss records, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from replay.verdict.findings.finding import (
    CATEGORIES,
    MEANINGS,
    NEVER_ENDED,
    SUPPRESSED,
    Block,
    Finding,
)
from replay.verdict.findings.gate import Judged, unused
from replay.verdict.findings.suppressions import Accepted, Matched, accept
from reports.evidence import Evidence
from reports.parts.tables import Table, make_table
from reports.words import NOTHING, counted, number, plain_seconds, shown
from traces.text import shortened

#: Loss records shown of a recording, and owners of each.
RECORDS_MAX = 100
OWNERS_MAX = 50
_NAME_CHARACTERS_MAX = 200
_SENTENCE_CHARACTERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One category of the leak summary; every one is there, with 0 where nothing is."""

    category: str
    tokens: str
    pages: str
    owners: str
    records: str
    #: What the numbers do not say: that pages came back, or that requests hold none.
    note: str
    meaning: str


@dataclass(frozen=True, slots=True)
class LossRecord:
    """Pages that are wrong in one way in one pool, as Valgrind shows a loss record."""

    #: Such as `34,048 tokens in 532 pages of 4 owners`.
    size: str
    category: str
    pool: str
    by: str
    place: str
    blame: str
    facts: tuple[tuple[str, str], ...]
    owners: Table | None


@dataclass(frozen=True, slots=True)
class FindingsPart:
    """Everything the page says about findings."""

    #: The leak summary on one line.
    line: str
    summary: tuple[SummaryRow, ...]
    records: tuple[LossRecord, ...]
    suppressed: tuple[LossRecord, ...]
    #: How many records are shown, of how many.
    shown: str
    #: The suppressions file, or None where none was given.
    file: str | None
    #: Entries that expired or do not cover what they match, and entries that match nothing.
    alarms: tuple[str, ...]
    unused: tuple[str, ...]


def judge_evidence(evidence: Evidence, accepted: Accepted | None) -> Judged:
    """The findings of a recording with what accepts each; without a file nothing does."""
    if accepted is None:
        return Judged(evidence.name, evidence.summary, Matched(evidence.findings))
    matched = accept(evidence.findings, evidence.run["profile"]["name"], accepted)
    return Judged(evidence.name, evidence.summary, matched)


def make_findings(evidence: Evidence, accepted: Accepted | None = None) -> FindingsPart:
    """The leak summary and the loss records of a recording."""
    judged = judge_evidence(evidence, accepted)
    found = judged.matched.findings
    records = [
        (finding, _record(finding, place, len(found), accepted))
        for place, finding in enumerate(found[:RECORDS_MAX], start=1)
    ]
    return FindingsPart(
        line=findings_line(found),
        summary=leak_summary(found),
        records=tuple(record for finding, record in records if finding.suppressed_by is None),
        suppressed=tuple(
            record for finding, record in records if finding.suppressed_by is not None
        ),
        shown=shown(len(records), len(found)),
        file=None if accepted is None else str(accepted.suppressions.path),
        alarms=() if accepted is None else _alarms(judged, accepted),
        unused=()
        if accepted is None
        else tuple(
            f"{entry.name} ({accepted.suppressions.where(entry)})"
            for entry in unused([judged], accepted)
        ),
    )


def findings_line(findings: Sequence[Finding]) -> str:
    """The leak summary on one line: every category, and what is in it."""
    return " \N{MIDDLE DOT} ".join(
        f"{category}: {_amount(mine)}" for category, mine in _by_category(findings).items()
    )


def leak_summary(findings: Sequence[Finding]) -> tuple[SummaryRow, ...]:
    """One row for each category, in the same order always."""
    return tuple(
        SummaryRow(
            category=category,
            tokens=number(sum(finding.tokens for finding in mine)),
            pages=number(sum(finding.pages for finding in mine)),
            owners=number(len(_owners(mine))),
            records=number(len(mine)),
            note=_note(mine),
            meaning=MEANINGS[category],
        )
        for category, mine in _by_category(findings).items()
    )


def _by_category(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by category; those that are accepted are counted as suppressed and nowhere else."""
    found: dict[str, list[Finding]] = {category: [] for category in (*CATEGORIES, SUPPRESSED)}
    for finding in findings:
        found[SUPPRESSED if finding.suppressed_by is not None else finding.category].append(finding)
    return found


def _owners(findings: Sequence[Finding]) -> set[str]:
    return {name for finding in findings for name in finding.owners}


def _amount(findings: Sequence[Finding]) -> str:
    """What some findings amount to, in a few words."""
    if not findings:
        return "0"
    pages = sum(finding.pages for finding in findings)
    owners = len(_owners([finding for finding in findings if finding.pages]))
    parts = []
    if pages:
        tokens = sum(finding.tokens for finding in findings)
        of = f" of {counted(owners, 'owner')}" if owners else ""
        parts.append(f"{counted(pages, 'page')} ({counted(tokens, 'token')}){of}")
    note = _note(findings)
    return ", ".join([*parts, note] if note else parts)


def _note(findings: Sequence[Finding]) -> str:
    waiting = sum(len(each.blocks) for each in findings if each.kind == NEVER_ENDED)
    lasting = [each for each in findings if each.lasts and each.kind != NEVER_ENDED]
    back = sum(each.pages for each in findings if not each.lasts and each.closed_us is not None)
    notes = []
    if back and not any(each.category == "false alarm" for each in findings):
        notes.append("all came back" if not lasting else f"{number(back)} of them came back")
    if waiting:
        notes.append(f"{counted(waiting, 'request')} that never ended and held no missing page")
    return "; ".join(notes)


def _record(finding: Finding, place: int, of: int, accepted: Accepted | None) -> LossRecord:
    owners = len(finding.owners)
    whose = f" of {counted(owners, 'owner')}" if owners else ""
    size = f"{counted(finding.tokens, 'token')} in {counted(finding.pages, 'page')}{whose}"
    if finding.kind == NEVER_ENDED:
        size = f"{counted(owners, 'request')} that never ended"
    return LossRecord(
        size=size,
        category=finding.category,
        pool=finding.pool,
        by=" + ".join(finding.faults) or "no fault touched it",
        place=f"loss record {number(place)} of {number(of)}",
        blame=shortened(finding.blame, _SENTENCE_CHARACTERS_MAX),
        facts=_facts(finding, accepted),
        owners=_owners_table(finding.blocks, place) if owners else None,
    )


def _facts(finding: Finding, accepted: Accepted | None) -> tuple[tuple[str, str], ...]:
    episodes = ", ".join(number(each) for each in finding.episodes[:OWNERS_MAX])
    more = len(finding.episodes) - OWNERS_MAX
    facts = [
        ("Kind", finding.kind),
        ("Pool", finding.pool),
        ("Faults", " + ".join(finding.faults) or "none"),
        ("Rules", shortened(", ".join(finding.rules), _NAME_CHARACTERS_MAX) or "none"),
        ("Episodes", (episodes or "none") + (f" and {number(more)} more" if more > 0 else "")),
        ("Opened", f"{plain_seconds(finding.opened_us)} s" if finding.blocks[0].episodes else None),
        ("Ended", _ended(finding)),
        ("Fingerprint", finding.fingerprint),
    ]
    if not finding.owners:
        facts.append(("Owners", "what has seen these pages knows none"))
    if accepted is not None and finding.suppressed_by is not None:
        entry = accepted.by_name(finding.suppressed_by)
        left = accepted.days_left(entry)
        facts += [
            ("Suppressed by", f"{entry.name} ({accepted.suppressions.where(entry)})"),
            ("Reason", entry.reason),
            ("Expires", f"{entry.expires}, {counted(left, 'day')} left on {accepted.today}"),
        ]
    return tuple((name, value) for name, value in facts if value is not None)


def _ended(finding: Finding) -> str:
    if finding.lasts:
        return "never: it was still so when the replay ended"
    return NOTHING if finding.closed_us is None else f"{plain_seconds(finding.closed_us)} s"


def _owners_table(blocks: Sequence[Block], place: int) -> Table:
    rows = (
        (
            block.request_id or "nobody",
            number(block.pages),
            block.state or NOTHING,
            plain_seconds(block.opened_us),
            "still so" if block.lasts else plain_seconds(block.closed_us),
        )
        for block in blocks[:OWNERS_MAX]
    )
    titles = "request|#pages|state when it began|#from, s|#to, s"
    return make_table(f"Owners of loss record {number(place)}", titles, rows, len(blocks))


def _alarms(judged: Judged, accepted: Accepted) -> tuple[str, ...]:
    expired = [
        f"{entry.name} ({accepted.suppressions.where(entry)}) expired on {entry.expires}, "
        f"{counted(-accepted.days_left(entry), 'day')} before {accepted.today}: it suppresses "
        "nothing."
        for entry in accepted.expired
    ]
    outgrown = [
        f"{entry.name} ({accepted.suppressions.where(entry)}) accepts at most "
        f"{counted(entry.pages_max or 0, 'page')}, and {number(pages)} match it: it suppresses "
        "nothing."
        for entry, pages in judged.matched.outgrown
    ]
    return (*expired, *outgrown)
