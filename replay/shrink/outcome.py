"""What a replay came to, as far as shrinking must keep it.

The *telling kind* of a summary is the kind with most pages among those that its verdict rests on (of
equal ones the first by name):

    persistent     wrong contents          stale-write, premature-free
                   else a gap left open    held, stuck, orphaned, cache-held, over-freed, counter-drift
                   else a request that never ends    no kind
                   else a page's owner     double-owned, stale-write, premature-free
    transient, inconclusive                every kind

So a case whose verdict rests on bytes that were overwritten does not have to keep a gap that healed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from replay.recording.kinds import GapKind
from replay.verdict.rules import ORACLES

_GAP_KINDS = get_args(GapKind)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is kept while everything else gets smaller."""

    verdict: str
    #: Who says so: an oracle (liveness as decode-liveness or prefill-liveness), engine or budget.
    oracle: str
    kind: str | None
    #: leak or over-free, where the kind is that of a gap.
    direction: str | None
    #: one-off or growing; None where the replay does not tell.
    growth: str | None
    #: What the engine would have died of, without numbers, where the verdict rests on that.
    words: str | None = None
    #: available, evictable, protected, total and gap, where they are to stay exactly as they are.
    numbers: tuple[int, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As shrunk.json holds it."""
        return asdict(self)


def outcome_of(
    summary: Mapping[str, Any], run: Mapping[str, Any], exact: bool = False
) -> Outcome | None:
    """What a replay came to; None when it tested nothing, or was clean.

    Args:
        summary: its summary.
        run: its run.json.
        exact: whether the numbers of the mismatch belong to it.
    """
    verdict = summary["verdict"]
    found = _oracle(summary, run)
    if found is None:
        return None
    oracle, telling = found
    kind = _telling_kind(summary["kinds"], telling)
    mismatch = summary["mismatch"]
    numbers = None
    if exact and mismatch is not None:
        names = ("available", "evictable", "protected", "total", "gap")
        numbers = tuple(mismatch[name] for name in names)
    growth = summary["growth"] if summary["growth"] in ("one-off", "growing") else None
    return Outcome(
        verdict,
        oracle,
        kind,
        summary["direction"] if kind in _GAP_KINDS else None,
        growth if oracle == "count" else None,
        _words(summary["engine_died_message"]) if oracle == "engine" else None,
        numbers,
    )


def _oracle(
    summary: Mapping[str, Any], run: Mapping[str, Any]
) -> tuple[str, tuple[str, ...] | None] | None:
    """Which of the oracles the verdict comes from, and the kinds it can rest on, None for any."""
    verdict = summary["verdict"]
    if verdict == "clean":
        return None
    if verdict == "transient":
        return "count", None
    if verdict == "inconclusive":
        if run["stopped_early"] or summary["engine_died_us"] is not None:
            return "engine", None
        return ("budget", None) if run["budget_exhausted"] else None
    ruled = ((each.ruled(summary), each.telling_kinds) for each in ORACLES)
    return next(((name, kinds) for name, kinds in ruled if name is not None), None)


def _telling_kind(kinds: Mapping[str, int], among: tuple[str, ...] | None) -> str | None:
    found = [kind for kind in sorted(kinds) if among is None or kind in among]
    return max(found, key=lambda kind: kinds[kind], default=None)


def _words(message: str | None) -> str | None:
    """The first line of what an engine died of, without numbers and names of requests."""
    if message is None:
        return None
    return re.sub(r"\S*\d\S*", "#", message.split("\n")[0])
