"""What `run` and `report` share about suppressions: options, reading, and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from replay.recording.reader import Recording
    from replay.verdict.findings.gate import Judged
    from replay.verdict.findings.suppressions import Accepted
    from replay.verdict.judge import Verdict


def suppression_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--suppressions` and `--today`: the arguments `suppressions` and `today`."""
    command = click.option(
        "--today",
        type=click.DateTime(["%Y-%m-%d"]),
        metavar="YYYY-MM-DD",
        help="Date used to check whether suppressions have expired (default: today, UTC).",
    )(command)
    return click.option(
        "--suppressions",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Accepted findings (TOML): exit 0 when it accepts every lasting finding and no entry has "
        "expired.",
    )(command)


def read_accepted(suppressions: Path | None, today: datetime | None) -> Accepted | None:
    """The accepted findings of a file, or None where there is none.

    Raises:
        SuppressionError: the file is wrong.
    """
    if suppressions is None:
        return None
    from replay.verdict.findings.suppressions import Accepted, read_suppressions

    day: date = datetime.now(UTC).date() if today is None else today.date()
    return Accepted(read_suppressions(suppressions), day)


def judging(
    judged: list[Judged], name: str, accepted: Accepted
) -> Callable[[Recording, Verdict], None]:
    """A function that judges a finished recording and adds it to `judged` under a name."""

    def look(recording: Recording, verdict: Verdict) -> None:
        from replay.verdict.findings.collect import find_findings
        from replay.verdict.findings.gate import Judged
        from replay.verdict.findings.suppressions import accept

        findings = find_findings(recording, verdict)
        matched = accept(findings, recording.run["profile"]["name"], accepted)
        judged.append(Judged(name, verdict.summary, matched))

    return look


def judge_accepted(judged: list[Judged], accepted: Accepted) -> int:
    """Print on stderr what speaks against these recordings; return the exit code."""
    from replay.commands.options import say
    from replay.verdict.findings.gate import gate

    found = gate(judged, accepted)
    for line in found.lines:
        say(line.replace("\n", " "), err=True)
    return found.code
