"""Create files in a held place; existing files are never overwritten."""

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
    """A file whose write errors contain its name."""

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
    """Create a folder and its parents if they are missing."""
    path.mkdir(parents=True, exist_ok=True)


def copy(source: Path, to: Path) -> None:
    """Copy a file, or a folder with its content, to a new path."""
    if source.is_dir():
        to.mkdir()
        for entry in sorted(source.iterdir()):
            copy(entry, to / entry.name)
        return
    with source.open("rb") as file, create(to) as copied:
        shutil.copyfileobj(file, copied)


def extend(path: Path, whole_bytes: int) -> IO[str]:
    """Open a file to continue after its first `whole_bytes` bytes; the rest is truncated.

    Raises:
        OutputError: the file has another name (a hard link), under which it must not change.
    """
    file = path.open("r+", encoding="utf-8")
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OutputError(f"{path}: has another name (a hard link); remove one of the two")
    file.seek(whole_bytes)
    file.truncate()
    return file


def append(path: Path, text: str) -> None:
    """Append to a file that belongs to the user, at the user's request."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def unnamed() -> IO[bytes]:
    """Open an unnamed temporary file, which the system removes when the process ends in any way."""
    return tempfile.TemporaryFile(prefix="kvreplay-")


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Run the block while no other process runs such a block for the same folder; create the folder."""
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
