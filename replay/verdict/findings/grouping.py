"""Blocks put together into findings: one for each category, kind, pool and fault, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from replay.verdict.findings.categories import CATEGORIES
from replay.verdict.findings.finding import Block, Finding


def group(
    blocks: Iterable[Block], page_size: int, blame_of: Callable[[Sequence[Block]], str]
) -> tuple[Finding, ...]:
    """Put blocks together; every block is in exactly one finding, whatever their order.

    Args:
        blocks: of one recording.
        page_size: tokens of a page.
        blame_of: one sentence about the blocks of one finding, which come largest first.
    """
    groups: dict[tuple[object, ...], list[Block]] = {}
    for block in blocks:
        key = (
            block.category, block.kind, block.pool, block.lasts, block.faults, block.rules
        )  # fmt: skip
        groups.setdefault(key, []).append(block)
    findings = []
    for mine in groups.values():
        mine.sort(key=_largest_first)
        one = mine[0]
        findings.append(
            Finding(
                category=one.category,
                kind=one.kind,
                pool=one.pool,
                lasts=one.lasts,
                faults=one.faults,
                rules=one.rules,
                blocks=tuple(mine),
                page_size=page_size,
                blame=blame_of(mine),
            )
        )
    return tuple(sorted(findings, key=worst_first))


def worst_first(finding: Finding) -> tuple[object, ...]:
    """Order of findings: what lasts, wrong bytes before missing pages, then the most pages."""
    return (
        finding.suppressed_by is not None,
        not finding.lasts,
        finding.category != "double-owned",
        -finding.pages,
        CATEGORIES.index(finding.category),
        finding.pool,
        finding.kind,
        finding.faults,
        finding.rules,
    )


def _largest_first(block: Block) -> tuple[object, ...]:
    return (
        -abs(block.pages), block.opened_us or 0, block.request_id or "", block.pages,
        block.closed_us or 0, block.opened_audit or 0, block.closed_audit or 0, block.state,
        block.episodes,
    )  # fmt: skip
