"""What is wrong, in the words of leak checkers: a leak summary, and loss records, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import DECODE_ENDED, PREFILL_ENDED
from replay.verdict.findings.finding import (
    CATEGORIES,
    MEANINGS,
    NEVER_ENDED,
    RELEASED_BY_ANOTHER,
    SUPPRESSED,
    Block,
    Finding,
)
from replay.verdict.findings.gate import Judged, unused
from replay.verdict.findings.suppressions import Accepted, Matched, accept
from reports.evidence import Evidence
from reports.parts.base import Check, Part, equal
from reports.tables import Table, make_table
from reports.words import NOTHING, by_count, counted, number, plain_seconds, shown
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
        by=" + ".join(finding.faults) or "none",
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
        facts.append(("Owners", "unknown: the oracle that saw these pages records none"))
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
        return "never: it was still so at the end of the replay"
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
    titles = "request|#pages|state on entry|#from, s|#to, s"
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
        f"{counted(entry.pages_max or 0, 'page')} and matches {number(pages)}, so it suppresses "
        "nothing."
        for entry, pages in judged.matched.outgrown
    ]
    return (*expired, *outgrown)


def check_findings(evidence: Evidence, findings: Sequence[Finding]) -> tuple[Check, ...]:
    """The findings against the summary, the owners, the gap when healing ended, and liveness."""
    blocks = [block for finding in findings for block in finding.blocks]
    in_gaps = [block for block in blocks if block.episodes]
    return (
        _leak_summary_is_whole(findings, blocks),
        _kinds_agree(evidence, blocks),
        _stays_agree(evidence, in_gaps),
        _final_gap_agrees(evidence, in_gaps),
        _never_ended_agree(evidence, findings),
    )


def _leak_summary_is_whole(findings: Sequence[Finding], blocks: Sequence[Block]) -> Check:
    listed = sum(int(row.pages.replace(",", "")) for row in leak_summary(findings))
    all_pages = sum(abs(block.pages) for block in blocks)
    claim = "pages in all categories of the leak summary = pages in all loss records"
    return equal(claim, listed, all_pages)


def _kinds_agree(evidence: Evidence, blocks: Sequence[Block]) -> Check:
    """Of what is still open, or of everything when nothing is, as the summary counts."""
    still_open = {each.number for each in evidence.episodes if each.is_open}
    kinds: Counter[str] = Counter()
    for block in blocks:
        if block.kind in (NEVER_ENDED, RELEASED_BY_ANOTHER):
            continue
        times = 1
        if block.episodes:
            counts = block.lasts or not still_open
            inside = set(block.episodes) & still_open if still_open else block.episodes
            times = len(inside) if counts else 0
        kinds[block.kind] += abs(block.pages) * times
    found = {kind: pages for kind, pages in sorted(kinds.items()) if pages}
    told = evidence.summary["kinds"]
    return Check(
        "pages by kind in the findings = pages by kind in the verdict",
        by_count(found),
        by_count(told),
        found == told,
    )


def _stays_agree(evidence: Evidence, in_gaps: Sequence[Block]) -> Check:
    owners = evidence.tables["owners"]
    recorded = pc.sum(pc.abs(owners["pages"])).as_py() or 0
    told = sum(abs(block.pages) for block in in_gaps)
    return Check(
        "pages in findings of gaps = pages of all stays in owners.parquet",
        f"{number(told)} in {number(len(in_gaps))}",
        f"{number(recorded)} in {number(owners.num_rows)}",
        (told, len(in_gaps)) == (recorded, owners.num_rows),
    )


def _final_gap_agrees(evidence: Evidence, in_gaps: Sequence[Block]) -> Check:
    """Blocks that were open at the last audit of healing, pool by pool."""
    healed = max((episode.healed_audit for episode in evidence.episodes), default=-1)
    pools: Counter[str] = Counter()
    for block in in_gaps:
        opened, closed = block.opened_audit, block.closed_audit
        if opened is not None and opened <= healed and (closed is None or closed > healed):
            pools[block.pool] += block.pages * evidence.page_size
    found = {pool: tokens for pool, tokens in sorted(pools.items()) if tokens}
    gaps = evidence.summary["final_gap"]["pools"]
    return Check(
        "by pool, findings present when healing ended = the gap then, in tokens",
        number(sum(found.values())),
        number(evidence.summary["final_gap"]["tokens"]),
        found == gaps,
    )


def _never_ended_agree(evidence: Evidence, findings: Sequence[Finding]) -> Check:
    """Requests that never ended hold pages of a gap that stays, or are a finding of their own."""
    requests, owners = evidence.tables["requests"], evidence.tables["owners"]
    ended = pc.and_(
        pc.is_in(requests["decode_state"], pa.array(DECODE_ENDED)),
        pc.is_in(requests["prefill_state"], pa.array(PREFILL_ENDED)),
    )
    waiting = requests.filter(pc.invert(ended))["request_id"]
    holding = owners.filter(owners["closed_audit"].is_null())["request_id"]
    with_pages = pc.sum(pc.is_in(waiting, holding.combine_chunks())).as_py() or 0
    without = sum(len(each.blocks) for each in findings if each.kind == NEVER_ENDED)
    total = evidence.summary["oracles"]["liveness"]
    return Check(
        "requests that never ended, with + without pages in a gap = all that never ended",
        f"{number(with_pages)} + {number(without)} = {number(with_pages + without)}",
        number(total),
        with_pages + without == total,
    )


FINDINGS = Part(
    "findings",
    lambda context: make_findings(context.evidence, context.accepted),
    lambda evidence, _: check_findings(evidence, evidence.findings),
    link="Leak summary",
    key="findings",
)
