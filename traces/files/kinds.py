"""Kinds of output. A file or folder is kvreplay's own if its entire content identifies it as such."""

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

#: Bytes of a file that are examined.
_HEAD_BYTES = 4096
_FOOTER_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True)
class FileKind:
    """A file that identifies itself in its header or footer; `noun` names it in messages."""

    is_folder: ClassVar[bool] = False
    noun: str
    is_ours: Callable[[Path], bool]

    def stranger(self, path: Path) -> Path | None:
        """Return the file itself, unless kvreplay provably made it."""
        is_file = stat.S_ISREG(path.lstat().st_mode)
        return None if is_file and self.is_ours(path) else path


@dataclass(frozen=True)
class FolderKind:
    """A folder in which every entry has a known name, or matches a pattern, and has a kind of its own.

    Without an entry named in `proof`, only hidden and empty entries count as kvreplay's, because a
    user's trace may have the name of one of them. With such an entry, a folder whose files are
    replaced individually (`is_worked_in`) may contain other entries, which are left alone.
    """

    is_folder: ClassVar[bool] = True
    noun: str
    entries: Mapping[str, Kind]
    proof: tuple[str, ...] = ()
    is_worked_in: bool = False

    def kind_of(self, name: str) -> Kind | None:
        """Return the kind an entry of that name must have; None if there should be no such entry."""
        matching = (kind for known, kind in self.entries.items() if fnmatchcase(name, known))
        return self.entries.get(name) or next(matching, None)

    def stranger(self, path: Path) -> Path | None:
        """Return the first entry that does not belong there, such as a symbolic link; None if all do."""
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
    """A kind of file that begins with one of these regular expressions, ignoring case."""
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
    """A kind of Parquet file whose footer contains all of these words."""
    return FileKind(noun, lambda path: all(each.encode() in _footer(path) for each in words))


def _footer(path: Path) -> bytes:
    """Return the footer of a Parquet file; empty if the file is not Parquet."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or not 0 < length <= min(size - 12, _FOOTER_BYTES_MAX):
            return b""
        file.seek(size - 8 - length)
        return file.read(length)


#: Copies of a trace made by other tools do not have the request count.
TRACE = by_parquet_footer(
    "a trace", METADATA_SCHEMA, SCHEMA_VERSION.partition("/")[0], METADATA_REQUEST_COUNT
)
#: Earlier versions marked their folders with such a file.
EMPTY = FileKind("an empty file", lambda path: path.stat().st_size == 0)
