"""Do the findings of some recordings pass, given what is accepted? An exit code, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from replay.recording.words import counted
from replay.verdict.findings.finding import Finding
from replay.verdict.findings.matching import Accepted, Outcome
from replay.verdict.findings.suppressions import Suppression

#: As of every command: another verdict than is accepted; nothing can be told.
_FAILED = 1
_CANNOT_TELL = 3
#: Findings named in one message.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """One recording: what it is called, its summary, and its findings with what accepts them."""

    name: str
    summary: dict[str, Any]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Gate:
    """The exit code, and the sentences for stderr that say how it came about."""

    code: int
    lines: tuple[str, ...]


def gate(judged: Sequence[Judged], accepted: Accepted) -> Gate:
    """0 when every lasting finding is accepted and no entry has expired, 1 when not.

    3 when nothing speaks against that, but a recording cannot tell: its verdict is inconclusive, or
    one of its fault rules never fired or changed nothing.
    """
    expired = [_expired(accepted, entry) for entry in accepted.expired]
    failed, unclear, grown = [], [], []
    for each in judged:
        left = [f for f in each.outcome.findings if f.lasts and f.suppressed_by is None]
        failed += [f"{each.name}: not accepted: {words(finding)}" for finding in left[:_NAMED_MAX]]
        if len(left) > _NAMED_MAX:
            failed.append(
                f"{each.name}: not accepted: {counted(len(left) - _NAMED_MAX, 'more finding')}"
            )
        if (why := _cannot_tell(each.summary)) is not None:
            unclear.append(f"{each.name}: cannot tell: {why}")
        for entry, pages in each.outcome.outgrown:
            grown.append(
                f"{accepted.suppressions.where(entry)}: suppression {entry.name!r} accepts at most "
                f"{counted(entry.pages_max or 0, 'page')}, {each.name} has {pages}: it accepts none"
            )
    idle = [_unused(accepted, entry) for entry in unused(judged, accepted)]
    code = _FAILED if expired or failed else _CANNOT_TELL if unclear else 0
    return Gate(code, (*expired, *grown, *failed, *unclear, *idle))


def unused(judged: Sequence[Judged], accepted: Accepted) -> tuple[Suppression, ...]:
    """Entries that could accept something and that no recording needs."""
    needed = {name for each in judged for name in each.outcome.used}
    needed |= {entry.name for each in judged for entry, _ in each.outcome.outgrown}
    gone = accepted.expired
    return tuple(
        entry
        for entry in accepted.suppressions.entries
        if entry.name not in needed and entry not in gone
    )


def words(finding: Finding) -> str:
    """A finding on one line, as Valgrind begins a loss record."""
    owners = len(finding.owners)
    of = f" of {counted(owners, 'owner')}" if owners else ""
    size = f"{finding.tokens:,} tokens in {counted(finding.pages, 'page')}{of}"
    if not finding.pages:
        size = counted(owners, "request")
    by = f", fault {' + '.join(finding.faults)}" if finding.faults else ""
    return (
        f"{size} {finding.category} ({finding.kind}) in {finding.pool}{by} [{finding.fingerprint}]"
    )


def _cannot_tell(summary: dict[str, Any]) -> str | None:
    if summary["verdict"] == "inconclusive":
        return str(summary["why"])
    silent = summary["faults"]["rules_never_fired"] + summary["faults"]["rules_without_effect"]
    if silent:
        return f"rules that never fired or changed nothing: {', '.join(map(repr, silent))}"
    return None


def _expired(accepted: Accepted, entry: Suppression) -> str:
    ago = -accepted.days_left(entry)
    return (
        f"{accepted.suppressions.where(entry)}: suppression {entry.name!r} expired on "
        f"{entry.expires} ({counted(ago, 'day')} ago) and accepts nothing; remove it, or decide anew"
    )


def _unused(accepted: Accepted, entry: Suppression) -> str:
    return (
        f"{accepted.suppressions.where(entry)}: suppression {entry.name!r} is unused: nothing "
        "matches it"
    )
