"""Files in a place that is held: made new, never opened over what is there."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from traces.errors import OutputError

_BUFFER_BYTES = 1 << 16


class _WorkingFile(io.FileIO):
    """A file whose write errors name it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, self.name) from None


def create(path: Path) -> BinaryIO:
    """Open a new file for writing."""
    return io.BufferedWriter(_WorkingFile(os.fspath(path), "xb"), _BUFFER_BYTES)


def create_text(path: Path) -> IO[str]:
    """Open a new text file for writing."""
    return io.TextIOWrapper(create(path), encoding="utf-8", newline="\n")


def write(path: Path, content: str | bytes) -> None:
    """Write a new file."""
    with create(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are missing."""
    path.mkdir(parents=True, exist_ok=True)


def copy(source: Path, to: Path) -> None:
    """Copy a file, or a folder and all in it, to where nothing is."""
    if source.is_dir():
        to.mkdir()
        for entry in sorted(source.iterdir()):
            copy(entry, to / entry.name)
        return
    with source.open("rb") as file, create(to) as copied:
        shutil.copyfileobj(file, copied)


def extend(path: Path, whole_bytes: int) -> IO[str]:
    """Open a file to go on after its first bytes; the rest of it goes.

    Raises:
        OutputError: it has another name, under which it must not change.
    """
    file = path.open("r+", encoding="utf-8")
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OutputError(f"{path}: has another name (a hard link); remove one of the two")
    file.seek(whole_bytes)
    file.truncate()
    return file


def append(path: Path, text: str) -> None:
    """Add to a file of somebody else's, who asked for it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def unnamed() -> IO[bytes]:
    """A temporary file without a name, which the system removes however the process ends."""
    return tempfile.TemporaryFile(prefix="kvreplay-")


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block of the same folder, made if it is missing."""
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
