"""Suppressions ready to paste, for findings that nothing accepts; a reason and a date are to be added."""

from __future__ import annotations

from collections.abc import Sequence

from faults.plan_text import toml_value
from replay.verdict.findings.finding import Finding
from replay.verdict.findings.gate import words
from traces.text import shortened

_COMMENT_CHARACTERS_MAX = 400
_HEAD = """\
# Each of these accepts what a recording shows. Before one counts, say why it is accepted and until
# which day: as they stand, empty, they are refused.
"""


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
