"""What a replay that came to something else than was expected says in pytest's output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.commands.options import LINE_CHARACTERS_MAX
from traces.text import shortened_lines

if TYPE_CHECKING:
    from replay.matrix.expectations import Judgement
    from replay.pytest_plugin.items import CellItem


def failure_text(
    item: CellItem, document: Mapping[str, Any], judgement: Judgement, cells: Path
) -> str:
    """Outcome, why, what was expected and where that stands, the equation, and how to repeat it."""
    expectation, facts = item.expectation, document["facts"]
    where = f"{item.source.path}:{expectation.line}" if expectation.line else "by default"
    lines = [f"{judgement.outcome}: {judgement.because}"]
    if facts is not None:
        lines.append(f"  verdict: {facts['verdict']}")
    lines.append(f"  expected: {expectation} ({where})")
    if facts is not None:
        lines += what_was_seen(
            facts["equation"],
            facts["engine_message"] or facts["engine_died_message"],
            facts["engine_check_fired"],
        )
    lines.append(f"  reproduce: {document['reproduce']}")
    slug = item.checked.cell.slug
    for what, path in (("recording", cells / slug), ("report", cells / f"{slug}.html")):
        if path.exists():
            lines.append(f"  {what}: {path}")
    return shortened_lines("\n".join(lines), LINE_CHARACTERS_MAX)


def what_was_seen(equation: str | None, words: str | None, fired: bool) -> list[str]:
    """The broken equation and the engine's words, where there are any, as indented lines."""
    lines = [f"  {equation}"] if equation else []
    if words:
        said = "said" if fired else "would have said, had it looked"
        lines.append(f"  the engine {said}:")
        lines += [f"    {line}" for line in words.rstrip("\n").split("\n")]
    return lines
