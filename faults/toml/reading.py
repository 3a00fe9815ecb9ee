"""Reads TOML from anybody in time that grows with its length: what is absurd never reaches `tomllib`.

`tomllib` takes a time that grows with the square of a key's parts, and recurses into brackets.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

#: A file is read whole; this is far more than anybody writes.
FILE_BYTES_MAX = 16 * 2**20
#: The deepest key of any file of ours has six parts.
KEY_PARTS_MAX = 32
KEY_CHARACTERS_MAX = 500
DEPTH_MAX = 64

# Strings and comments are passed over whole; one that never ends, as far as it can go.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"{3,5}|\Z)'
    r"|'''.*?(?:'{3,5}|\Z)"
    r'|"(?:\\.|[^"\\\n])*"?'
    r"|'[^'\n]*'?"
    r"|#[^\n]*"
    r"|[\[\]{}=,.\n]",
    re.DOTALL,
)


class TomlError(ValueError):
    """A text is not TOML, or no TOML that anybody means; `line` is where, as far as it is known."""

    def __init__(self, complaint: str, line: int | None = None) -> None:
        super().__init__(complaint)
        self.line = line

    def at(self, source: object) -> str:
        """The complaint behind the name of its file and the line."""
        return f"{source}{'' if self.line is None else f':{self.line}'}: {self}"


def toml_text(path: Path, what: str) -> str:
    """The text of a TOML file, which messages call `what`, such as `plan`.

    Raises:
        TomlError: it cannot be read, is no text, or is too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as problem:
        raise TomlError(f"cannot read the {what}: {problem.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        size = f"more than {FILE_BYTES_MAX >> 20} MiB"
        raise TomlError(f"{size}; no {what} file is that large, name another")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise TomlError(f"not a text file; the {what} should be TOML in UTF-8") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The document that a TOML text stands for.

    Raises:
        TomlError: it is not TOML, or has a key or brackets that nobody writes.
    """
    _check(text)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise TomlError(f"not valid TOML: {problem}") from None


def _check(text: str) -> None:
    """Refuse long keys and deep brackets.

    Dots are counted from one separator to the next: a key has one less than it has parts, and no
    value has more than one outside of strings.
    """
    begin = dots = depth = 0
    for found in _TOKEN.finditer(text):
        token, wrong = found.group(), ""
        if token == ".":
            dots += 1
        elif token[0] not in "\"'#":
            if token == "=" and found.start() - begin > KEY_CHARACTERS_MAX:
                wrong = f"a key of more than {KEY_CHARACTERS_MAX} characters"
            depth += (token in "[{") - (token in "]}")
            dots, begin = 0, found.end()
        if dots >= KEY_PARTS_MAX:
            wrong = f"a key of more than {KEY_PARTS_MAX} dotted parts"
        elif depth > DEPTH_MAX:
            wrong = f"brackets within more than {DEPTH_MAX} others"
        if wrong:
            line = text.count("\n", 0, begin) + 1
            raise TomlError(f"{wrong}, which no file of kvreplay needs; write less of it", line)
