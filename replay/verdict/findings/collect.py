"""From a recording and its verdict to its findings."""

from __future__ import annotations

from collections.abc import Sequence

from replay.recording.reader import Recording
from replay.verdict.findings.finding import Block, Finding
from replay.verdict.findings.gaps import blame_of_blocks, blocks_of_gaps
from replay.verdict.findings.grouping import group
from replay.verdict.findings.without_gap import (
    blocks_of_contents,
    blocks_of_false_alarm,
    blocks_of_ledger,
    blocks_of_never_ended,
)
from replay.verdict.judge import Verdict


def find_findings(recording: Recording, verdict: Verdict) -> tuple[Finding, ...]:
    """Everything that is wrong in a recording, grouped, the worst first.

    It is a function of the recording alone: the same tables give the same findings in the same
    order.

    Raises:
        RecordingError: a table is missing or broken.
    """
    run, found = recording.run, verdict.findings
    in_gaps = blocks_of_gaps(verdict.episodes)
    over_freed_pages = sum(-block.pages for block in in_gaps if block.pages < 0)
    told = blocks_of_contents(recording)
    told += blocks_of_ledger(recording, found, over_freed_pages)
    told += blocks_of_false_alarm(run, found)
    if verdict.summary["oracles"]["liveness"]:
        owners = {block.request_id for block in in_gaps if block.lasts and block.request_id}
        told += blocks_of_never_ended(recording, owners)
    sentences = dict(told)
    episodes = {episode.number: episode for episode in verdict.episodes}

    def blame_of(blocks: Sequence[Block]) -> str:
        if blocks[0].episodes:
            return blame_of_blocks(run, episodes, blocks)
        return sentences[blocks[0]]

    blocks = (*in_gaps, *(block for block, _ in told))
    return group(blocks, run["profile"]["page_size"], blame_of)
