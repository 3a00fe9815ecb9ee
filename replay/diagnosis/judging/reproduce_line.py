"""The `kvreplay reproduce` line for the numbers of a log.

What it can make: a gap of whole pages in a token pool with nothing evictable. So evictable,
protected and held tokens count as available here, which leaves the gap as it was; request slots and
states of other pools are not pages, and there is no line for them.
"""

from __future__ import annotations

from replay.commands.options import command_line
from replay.diagnosis.judging.finding import Finding
from replay.diagnosis.judging.page_sizes import likely_page_size
from replay.diagnosis.judging.series import TOKEN_POOLS
from replay.reproduce.wanted_gap import GAP_PAGES_MAX

#: Engine -> the profile to take; the others are served by the default of `reproduce`.
_PROFILES = {"vllm": "vllm-0.33", "vllm-ascend": "vllm-0.33"}


def reproduce_line(finding: Finding, engine: str) -> str:
    """A line that works when pasted, or an empty one where no replay can make these numbers."""
    shown = finding.observation
    if finding.kind == "counter-drift":
        # A counter that is wrong is not a page that is lost.
        return ""
    if shown is not None and shown.pool in TOKEN_POOLS:
        gap, total = shown.gap, shown.total
    elif finding.stuck_of_total is not None:
        gap, total = finding.stuck_of_total
    else:
        return ""
    if not gap or total - gap < 0 or total < 1:
        return ""
    page_size = likely_page_size(gap, total)
    if abs(gap) // page_size > GAP_PAGES_MAX:
        return ""
    words: list[object] = ["kvreplay", "reproduce", "--available", total - gap, "--total", total]
    words += ["--page-size", page_size]
    if finding.verdict == "transient" and gap > 0:
        words += ["--as", "transient"]
    if engine in _PROFILES:
        words += ["--profile", _PROFILES[engine]]
    return command_line(*words)
