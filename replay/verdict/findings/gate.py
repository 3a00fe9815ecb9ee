"""Whether the findings of some recordings pass, given the accepted ones: an exit code and reasons.

For findings that nothing accepts there are suppressions ready to paste, which lack a reason and a date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faults.plan_text import toml_value
from replay.recording.words import counted
from replay.verdict.findings.finding import Finding
from replay.verdict.findings.suppressions import Accepted, Matched, Suppression
from traces.text import shortened

_COMMENT_CHARACTERS_MAX = 400
_HEAD = """\
# Each of these accepts what a recording shows. Before one counts, say why it is accepted and until
# which day: as they stand, empty, they are refused.
"""

#: As for every command: not accepted; inconclusive.
_FAILED = 1
_CANNOT_TELL = 3
#: Findings named in one message.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """One recording: what it is called, its summary, and its findings with what accepts them."""

    name: str
    summary: dict[str, Any]
    matched: Matched


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
        left = [f for f in each.matched.findings if f.lasts and f.suppressed_by is None]
        failed += [f"{each.name}: not accepted: {words(finding)}" for finding in left[:_NAMED_MAX]]
        if len(left) > _NAMED_MAX:
            failed.append(
                f"{each.name}: not accepted: {counted(len(left) - _NAMED_MAX, 'more finding')}"
            )
        if (why := _cannot_tell(each.summary)) is not None:
            unclear.append(f"{each.name}: cannot tell: {why}")
        for entry, pages in each.matched.outgrown:
            grown.append(
                f"{accepted.suppressions.where(entry)}: suppression {entry.name!r} accepts at most "
                f"{counted(entry.pages_max or 0, 'page')}, {each.name} has {pages}: it accepts none"
            )
    idle = [_unused(accepted, entry) for entry in unused(judged, accepted)]
    code = _FAILED if expired or failed else _CANNOT_TELL if unclear else 0
    return Gate(code, (*expired, *grown, *failed, *unclear, *idle))


def unused(judged: Sequence[Judged], accepted: Accepted) -> tuple[Suppression, ...]:
    """Entries that could accept something and that no recording needs."""
    needed = {name for each in judged for name in each.matched.used}
    needed |= {entry.name for each in judged for entry, _ in each.matched.outgrown}
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


def suppressions_text(found: Sequence[tuple[str, Sequence[Finding]]]) -> str:
    """A TOML file with one entry for each way of going wrong that lasts and is not accepted yet.

    Args:
        found: of each recording the name of its profile, and its findings.
    """
    pages: dict[tuple[str, str], int] = {}
    shown: dict[tuple[str, str], list[Finding]] = {}
    for profile, findings in found:
        here: dict[tuple[str, str], int] = {}
        for finding in findings:
            if finding.lasts and finding.suppressed_by is None:
                key = (finding.fingerprint, profile)
                here[key] = here.get(key, 0) + finding.pages
                shown.setdefault(key, []).append(finding)
        for key, count in here.items():
            pages[key] = max(pages.get(key, 0), count)
    if not shown:
        return "# No finding that lasts is left to accept.\n"
    entries = [
        _entry(profile, mine, pages[fingerprint, profile], place)
        for place, ((fingerprint, profile), mine) in enumerate(shown.items(), start=1)
    ]
    return "\n".join((_HEAD, *entries))


def _entry(profile: str, findings: Sequence[Finding], pages: int, place: int) -> str:
    worst = max(findings, key=lambda finding: finding.pages)
    more = f" (and {len(findings) - 1} more like it)" if len(findings) > 1 else ""
    by = f" by {' + '.join(worst.faults)}" if worst.faults else ""
    lines = [
        f"# {shortened(words(worst), _COMMENT_CHARACTERS_MAX)}{more}",
        f"# {shortened(worst.blame, _COMMENT_CHARACTERS_MAX)}",
        "[[suppression]]",
        f"name = {toml_value(f'{place}: {worst.kind} on {worst.side}{by}')}",
        'reason = ""   # why this is accepted, and who decided so',
        'expires = ""  # the last day on which it is, such as 2027-03-31',
        f"fingerprint = {toml_value(worst.fingerprint)}",
        f"category = {toml_value(worst.category)}",
        f"profile = {toml_value(_literal(profile))}",
    ]
    if worst.pages:
        lines.append(f"pages_max = {pages}")
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    """A glob that matches this text alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
