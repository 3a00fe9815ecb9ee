"""Do the findings add up to what the verdict, the tables and the audits say? Checked for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import DECODE_ENDED, PREFILL_ENDED
from replay.verdict.findings.finding import NEVER_ENDED, RELEASED_BY_ANOTHER, Block, Finding
from reports.evidence import Evidence
from reports.parts.findings import leak_summary
from reports.reconcile import Check
from reports.words import by_count, number


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
    claim = "the pages of all categories of the leak summary = the pages of all loss records"
    return Check(claim, number(listed), number(all_pages), listed == all_pages)


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
        "pages by kind of the findings = pages by kind of the verdict",
        by_count(found),
        by_count(told),
        found == told,
    )


def _stays_agree(evidence: Evidence, in_gaps: Sequence[Block]) -> Check:
    owners = evidence.tables["owners"]
    recorded = pc.sum(pc.abs(owners["pages"])).as_py() or 0
    told = sum(abs(block.pages) for block in in_gaps)
    return Check(
        "pages of the findings that gaps show = pages of all stays in owners.parquet",
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
        "pool by pool, the findings that were there when healing ended = the gap then, in tokens",
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
        "requests that never ended with pages of a gap + without = all that never ended",
        f"{number(with_pages)} + {number(without)} = {number(with_pages + without)}",
        number(total),
        with_pages + without == total,
    )
