"""Where in a TOML file a key or value stands, which `tomllib` does not say.

The text must be valid TOML (`tomllib` has read it), so this only has to find its way, not to check:

    [[rule]]            ("rule",), ("rule", 0)          line 1
    name = "lost"       ("rule", 0, "name")             line 2
    ranks = [0,         ("rule", 0, "ranks"), (..., 0)  line 3
             1]         ("rule", 0, "ranks", 1)         line 4
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

#: Keys and places in arrays, from the top of the document.
TomlPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Of a long string's closing quotes, up to two more may belong to the string.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]*")


def line_of(text: str, path: TomlPath) -> int | None:
    """The line, from 1, of a key, table or array element; of the nearest thing around it if there
    is none of that path (a missing key is reported where its table begins); None for the top.
    """
    return nearest_line(lines_of(text), path)


def nearest_line(lines: Mapping[TomlPath, int], path: TomlPath) -> int | None:
    """The same for a text whose `lines_of` is known."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def lines_of(text: str) -> dict[TomlPath, int]:
    """Every path of a valid TOML text with the line on which it first appears."""
    return _Reader(text.replace("\r\n", "\n")).read()


class _Reader:
    """A cursor that moves over the text once and notes where things stand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._lines: dict[TomlPath, int] = {}
        #: Elements of each array of tables so far.
        self._elements: dict[TomlPath, int] = {}

    def read(self) -> dict[TomlPath, int]:
        table: TomlPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._take("[["):
                table = self._header(is_element=True)
                self._at += 2
            elif self._take("["):
                table = self._header(is_element=False)
                self._at += 1
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self, is_element: bool) -> TomlPath:
        """The table that `[a.b]` or `[[a.b]]` opens; within an array of tables, its last one."""
        line, keys = self._line_here(), self._keys()
        path: TomlPath = ()
        for place, key in enumerate(keys, start=1):
            path = (*path, key)
            self._lines.setdefault(path, line)
            is_last = place == len(keys)
            if is_element and is_last:
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements and (is_element or not is_last):
                path = (*path, self._elements[path] - 1)
                self._lines.setdefault(path, line)
        # A table may be opened after its children: its own header is where it stands.
        self._lines[path] = line
        return path

    def _pair(self, table: TomlPath) -> None:
        """One `a.b = value`."""
        line, path = self._line_here(), table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACES)
        self._value(path)

    def _value(self, path: TomlPath) -> None:
        if self._text[self._at] in "\"'":
            self._skip(_STRING)
        elif self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        else:
            self._skip(_OTHER_VALUE)

    def _array(self, path: TomlPath) -> None:
        place = 0
        self._skip(_BLANK)
        while not self._take("]"):
            self._lines[(*path, place)] = self._line_here()
            self._value((*path, place))
            place += 1
            self._after_element()

    def _inline_table(self, path: TomlPath) -> None:
        self._skip(_BLANK)
        while not self._take("}"):
            self._pair(path)
            self._after_element()

    def _after_element(self) -> None:
        self._skip(_BLANK)
        self._take(",")
        self._skip(_BLANK)

    def _keys(self) -> list[str]:
        """A dotted key; the cursor ends on what follows it."""
        keys: list[str] = []
        while True:
            self._skip(_SPACES)
            if self._text[self._at] in "\"'":
                quoted = self._skip(_STRING)
                keys.append(str(tomllib.loads(f"key = {quoted}")["key"]))
            else:
                keys.append(self._skip(_BARE_KEY))
            self._skip(_SPACES)
            if not self._take("."):
                return keys

    def _take(self, literal: str) -> bool:
        found = self._text.startswith(literal, self._at)
        self._at += len(literal) if found else 0
        return found

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(
                f"not valid TOML at line {self._line_here()}; let tomllib read it first"
            )
        self._at = match.end()
        return match.group()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line
