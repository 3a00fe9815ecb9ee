"""How a recording was made: enough to make it again, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.words import counted, number


def profile_fields(run: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Every field of the profile, as name and value."""
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
        ("plan", run["plan"]["source"] or "made of command-line shortcuts"),
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
