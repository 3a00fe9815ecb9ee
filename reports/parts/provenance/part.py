"""How a recording was made: enough to make it again, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.evidence import Evidence
from reports.parts.base import Part
from reports.words import counted, number


@dataclass(frozen=True, slots=True)
class Provenance:
    """Trace, plan, options and versions, and every field of the profile."""

    comment: str
    details: tuple[tuple[str, str], ...]
    profile: tuple[tuple[str, str], ...]


def make_provenance(evidence: Evidence) -> Provenance:
    """How a recording was made."""
    run = evidence.run
    return Provenance(run["plan"]["comment"], make_details(evidence.name, run), profile_fields(run))


def profile_fields(run: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Profile fields, as name and value."""
    return tuple((name, _plain(value)) for name, value in run["profile"].items())


def make_details(name: str, run: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Enough to make the recording again, and where it was made."""
    trace, options, environment = run["trace"], run["options"], run["environment"]
    pairs = [
        ("recording", name),
        ("kvreplay", run["kvreplay"]),
        ("profile", f"{run['profile']['name']}: {run['profile']['description']}"),
        ("trace", f"{trace['path']}, {counted(trace['requests'], 'request')}"),
        ("trace SHA-256", trace["sha256"]),
        ("trace source", trace["source"]),
        ("plan", run["plan"]["source"] or "from command-line options"),
        *((name.replace("_", " "), _plain(value)) for name, value in options.items()),
        *((f"environment: {name}", _plain(value)) for name, value in environment.items()),
    ]
    return tuple((name, str(value)) for name, value in pairs)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(each) for each in value) or "none"
    return "none" if value is None else str(value)


PROVENANCE = Part(
    "provenance", lambda context: make_provenance(context.evidence), link="Provenance"
)
