"""What a replay with faults is compared with: the same one without, or the line that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from reports.evidence import Evidence

#: Options of `kvreplay run` that bring faults, or that a baseline does without; each has a value.
_LEFT_OUT = frozenset(
    {"--plan", "--drop", "--delay", "--duplicate", "--repeat", "--out", "--expect"}
)
_LEFT_OUT_FLAGS = frozenset({"--swarm", "--json"})


def baseline_of(evidence: Evidence, others: Iterable[Evidence]) -> Evidence | None:
    """Of other recordings the first that is the same replay without faults; None where none is.

    The same: the trace by its SHA-256 and every field of the profile, its topology among them. The
    seed may differ, for without faults nothing is drawn.
    """
    if not evidence.run["plan"]["rules"]:
        return None
    for other in others:
        if (
            other is not evidence
            and not other.run["plan"]["rules"]
            and not other.run["stopped_early"]
            and other.run["trace"]["sha256"] == evidence.run["trace"]["sha256"]
            and other.run["profile"] == evidence.run["profile"]
        ):
            return other
    return None


def how_to_make_it(evidence: Evidence) -> str | None:
    """The lines that make a baseline and draw both together; None where no line can."""
    words = _words(str(evidence.run["reproduce"]))
    if words[:2] != ["kvreplay", "run"] or "allocator" in evidence.run.get("environment", {}):
        return None
    kept = list(_without_faults(words))
    if "--swarm" in words:
        kept += _what_was_drawn(evidence, kept)
    directory = evidence.name
    out = f"{Path(directory).name or 'recording'}-without-faults"
    return "\n".join(
        (
            shlex.join([*kept, "--out", out]),
            shlex.join(["kvreplay", "report", directory, out]),
        )
    )


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _without_faults(words: list[str]) -> Iterator[str]:
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word in _LEFT_OUT:
            is_value = True
        elif word not in _LEFT_OUT_FLAGS and word.split("=", 1)[0] not in _LEFT_OUT:
            yield word


def _what_was_drawn(evidence: Evidence, words: list[str]) -> list[str]:
    """The deployment that a swarm drew, as settings; those on the line win, as they did then."""
    swarm = evidence.run["swarm"]
    settings = {} if swarm is None else swarm["settings"]
    fixed = {word.split("=", 1)[0] for word in words}
    said = []
    for name, value in settings.items():
        if name not in fixed:
            said += ["--set", f"{name}={_as_text(value)}"]
    return said


def _as_text(value: object) -> str:
    """A recorded setting as `--set` reads it."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
