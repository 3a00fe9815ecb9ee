"""Text from outside in Markdown: code spans and fenced blocks that nothing in it can leave.

They are fenced wider than any run of backticks in the text, so that it is neither markup nor HTML
nor a link nor a mention of somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from traces.text import printable, shortened

#: Characters of a name in a code span.
NAME_CHARACTERS_MAX = 300


def code(text: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """Text as a code span on one line."""
    line = shortened(text, characters_max) or "none"
    fence = "`" * (longest_run(line) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def code_in_table(text: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """The same for a table, which takes a bare bar for the end of an entry even in code."""
    return code(text, characters_max).replace("|", "\\|")


def fenced(text: str, language: str) -> str:
    """Text as a block of its own."""
    fence = "`" * max(3, longest_run(text) + 1)
    return f"{fence}{language}\n{printable(text)}\n{fence}\n\n"


def table_row(entries: Iterable[str]) -> str:
    """One row of a table."""
    return f"| {' | '.join(entries)} |"


def longest_run(text: str) -> int:
    """How many backticks stand side by side at most."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
