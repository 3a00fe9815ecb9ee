r"""Strings from outside made fit to be shown: printable, bounded, and as JSON that shows as it stands.

Ids, names, comments, paths and lines of logs come from files that somebody else wrote. Whatever of
them is shown, in a terminal, a page, a picture or a file, goes through here and nowhere else:

    ESC, BEL, NUL, DEL, C1        \x1b \x07 \x00 \x7f \x9b     would steer a terminal
    bidi, zero width, U+2028      \u202e \u200b \u2028         would show another text than there is
    surrogates, unassigned        \ud800 \ufffe                cannot be written, or nobody knows as what

Letters of every script, their marks, emoji and all spaces stay. A zero-width joiner does not: a family
of emoji falls into its members, and nothing can hide between two letters. Backslashes stay as well,
so what was made printable once is not changed by doing it again, though two strings may look alike.
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
    """The text with every character that does not simply show as a visible escape; newlines stay."""
    return _escaped(text, lambda hidden: hidden.encode("unicode_escape").decode())


def shortened(text: str, characters_max: int, *, lines: bool = False) -> str:
    """The printable text on one line or, with `lines`, on those it has; of a long one its beginning
    and how many characters are left out. What is not shown costs no time.
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
    """The text with each of its lines shortened on its own."""
    return "\n".join(shortened(line, characters_max, lines=True) for line in text.split("\n"))


def all_printable(value: Any) -> Any:
    """A JSON-like value with every string in it printable; keys stay."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: all_printable(each) for key, each in value.items()}
    return [all_printable(each) for each in value] if isinstance(value, list | tuple) else value


def json_text(value: Any, indent: int | None = 2) -> str:
    r"""The value as JSON: its strings stay true, what is not printable in them is written `\u202e`."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _escaped(text, lambda hidden: json.dumps(hidden)[1:-1])


def toml_string(text: str) -> str:
    """The text as a string of a TOML file, likewise."""
    quoted = json.dumps(text, ensure_ascii=False)
    return _escaped(quoted, lambda hidden: f"\\U{ord(hidden):08x}")


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    def shown(found: re.Match[str]) -> str:
        character = found.group()
        is_space = unicodedata.category(character) == "Zs"
        return character if character.isprintable() or is_space else escape(character)

    return text if text.isprintable() else _SUSPECT.sub(shown, text)
