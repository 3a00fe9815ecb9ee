"""Whose a file or folder is: kvreplay's of a kind if all of it says so itself, else a stranger's."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

from traces.files.locks import is_hold
from traces.schema import METADATA_REQUEST_COUNT, METADATA_SCHEMA, SCHEMA_VERSION

#: Bytes of a file that are looked at.
_HEAD_BYTES = 4096
_FOOTER_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True)
class FileKind:
    """A file that says in its own head or footer what it is; `noun` is what messages call it."""

    is_folder: ClassVar[bool] = False
    noun: str
    is_ours: Callable[[Path], bool]

    def stranger(self, path: Path) -> Path | None:
        """The file itself, unless it is provably ours."""
        is_file = stat.S_ISREG(path.lstat().st_mode)
        return None if is_file and self.is_ours(path) else path


@dataclass(frozen=True)
class FolderKind:
    """A folder in which every entry is known by its name, or a pattern of names, and its own kind.

    Without one of `proof` it holds only what is hidden or empty, for a user's trace may be called as
    ours. With one, other entries may be in a folder that is worked in: nobody touches them.
    """

    is_folder: ClassVar[bool] = True
    noun: str
    entries: Mapping[str, Kind]
    proof: tuple[str, ...] = ()
    is_worked_in: bool = False

    def kind_of(self, name: str) -> Kind | None:
        """What an entry of that name has to be; None if there should be none."""
        matching = (kind for known, kind in self.entries.items() if fnmatchcase(name, known))
        return self.entries.get(name) or next(matching, None)

    def stranger(self, path: Path) -> Path | None:
        """The first entry that does not belong there, as symbolic links never do; None if all do."""
        if not stat.S_ISDIR(path.lstat().st_mode):
            return path
        is_proven = not self.proof or any((path / name).exists() for name in self.proof)
        for entry in sorted(path.iterdir()):
            kind = self.kind_of(entry.name)
            if is_hold(entry) or (kind is None and is_proven and self.is_worked_in):
                continue
            is_empty = entry.is_dir() and not any(entry.iterdir())
            is_sure = is_proven or is_empty or entry.name[0] == "."
            found = entry if kind is None or not is_sure else kind.stranger(entry)
            if found is not None:
                return found
        return None


Kind = FileKind | FolderKind


def by_head(noun: str, *patterns: str) -> FileKind:
    """A kind of file that begins with one of these regular expressions, letter case aside."""
    known = [re.compile(each.encode(), re.DOTALL | re.IGNORECASE) for each in patterns]

    def is_ours(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        return any(each.match(head) for each in known)

    return FileKind(noun, is_ours)


def by_json_schema(noun: str, schema: str) -> FileKind:
    """A kind of JSON file whose first key is its schema, `NAME/VERSION` of any version."""
    name = re.escape(schema.partition("/")[0])
    return by_head(noun, rf'\{{\s*"schema": "{name}/')


def by_parquet_footer(noun: str, *words: str) -> FileKind:
    """A kind of Parquet file whose footer has all of these words in it."""
    return FileKind(noun, lambda path: all(each.encode() in _footer(path) for each in words))


def _footer(path: Path) -> bytes:
    """The footer of a Parquet file; empty when it is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or not 0 < length <= min(size - 12, _FOOTER_BYTES_MAX):
            return b""
        file.seek(size - 8 - length)
        return file.read(length)


#: The count is in no copy that another tool made of a trace.
TRACE = by_parquet_footer(
    "a trace", METADATA_SCHEMA, SCHEMA_VERSION.partition("/")[0], METADATA_REQUEST_COUNT
)
#: Earlier versions marked folders of theirs with such a file.
EMPTY = FileKind("an empty file", lambda path: path.stat().st_size == 0)
