"""From a recording and its verdict to its findings: one for each category, kind, pool and fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from replay.recording.reader import Recording
from replay.verdict.count import blame_of_blocks
from replay.verdict.findings.finding import Block, Finding, worst_first
from replay.verdict.judge import Verdict


def find_findings(recording: Recording, verdict: Verdict) -> tuple[Finding, ...]:
    """Everything that is wrong in a recording, grouped, the worst first.

    It is a function of the recording alone: the same tables give the same findings in the same
    order.

    Raises:
        RecordingError: a table is missing or broken.
    """
    run, oracles = recording.run, verdict.oracles
    in_gaps = oracles.count.in_gaps()
    blamed = [each for oracle in oracles.in_order for each in oracle.blocks(recording, in_gaps)]
    sentences = dict(blamed)
    episodes = {episode.number: episode for episode in verdict.episodes}

    def blame_of(blocks: Sequence[Block]) -> str:
        if blocks[0].episodes:
            return blame_of_blocks(run, episodes, blocks)
        return sentences[blocks[0]]

    return group((block for block, _ in blamed), run["profile"]["page_size"], blame_of)


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


def _largest_first(block: Block) -> tuple[object, ...]:
    return (
        -abs(block.pages), block.opened_us or 0, block.request_id or "", block.pages,
        block.closed_us or 0, block.opened_audit or 0, block.closed_audit or 0, block.state,
        block.episodes,
    )  # fmt: skip
