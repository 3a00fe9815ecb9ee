r"""Make strings from external files safe to display: printable, bounded, and quoted for JSON and TOML.

Ids, names, comments, paths and log lines come from files that others wrote. Every such string that
is shown in a terminal, a page, a picture or a file goes through this module:

    ESC, BEL, NUL, DEL, C1        \x1b \x07 \x00 \x7f \x9b     would control a terminal bidi, zero
    width, U+2028      \u202e \u200b \u2028         would display a different text surrogates,
    unassigned        \ud800 \ufffe                cannot be encoded, or have no known glyph

Letters of every script, combining marks, emoji and all spaces stay. Zero-width joiners are escaped:
a family emoji is shown as its members, and nothing can hide between two letters. Backslashes stay,
so escaping a string twice gives the same result, although two different strings may look alike.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

# Letters, digits, ASCII and ends of lines need no second look.
_SUSPECT = re.compile(r"[^\w\x20-\x7e\n]")


def printable(text: str) -> str:
    """Return the text with every non-printable character escaped; newlines stay."""
    return _escaped(text, lambda hidden: hidden.encode("unicode_escape").decode())


def shortened(text: str, characters_max: int, *, lines: bool = False) -> str:
    """Return the text printable and on one line (with `lines`: with its newlines), cut if it is long.

    A cut text ends with the number of characters left out; they cost no time.
    """
    if not lines:
        text = " ".join(text.split())
    shown = printable(text[: characters_max + 1])
    if len(shown) <= characters_max:
        return shown
    kept, room = 0, characters_max
    while kept < len(text) and (room := room - len(printable(text[kept]))) >= 0:
        kept += 1
    more = f"\N{HORIZONTAL ELLIPSIS} ({len(text) - kept:,} more characters)"
    return printable(text[:kept]) + more


def shortened_lines(text: str, characters_max: int) -> str:
    """Return the text with each line shortened separately."""
    return "\n".join(shortened(line, characters_max, lines=True) for line in text.split("\n"))


def all_printable(value: Any) -> Any:
    """Return a JSON-like value with every string in it printable; keys are unchanged."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: all_printable(each) for key, each in value.items()}
    return [all_printable(each) for each in value] if isinstance(value, list | tuple) else value


def json_text(value: Any, indent: int | None = 2) -> str:
    r"""Return the value as JSON, with non-printable characters as escapes such as `\u202e`."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _escaped(text, lambda hidden: json.dumps(hidden)[1:-1])


def toml_string(text: str) -> str:
    """Return the text as a quoted TOML string, escaped likewise."""
    quoted = json.dumps(text, ensure_ascii=False)
    return _escaped(quoted, lambda hidden: f"\\U{ord(hidden):08x}")


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    def shown(found: re.Match[str]) -> str:
        character = found.group()
        is_space = unicodedata.category(character) == "Zs"
        return character if character.isprintable() or is_space else escape(character)

    return text if text.isprintable() else _SUSPECT.sub(shown, text)
