"""The bytes of a log file: decompressed, split into lines of bounded length, with progress.

gzip and zstd are detected by their first bytes, not by the name of the file, and may contain any
format, including Parquet and pickles.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from traces.byte_order import AsUtf8
from traces.errors import TraceError, first_line, unreadable
from traces.files.place import scratch
from traces.files.writing import create

#: Called from time to time with the amount of work done.
OnProgress = Callable[[int], None]

#: A longer line stops the import, because a file without line ends is not a log. (In memory, JSON
#: takes about 25 times its size.)
LINE_BYTES_MAX = 16 * 2**20

_CHUNK_BYTES = 2**20
#: A log that grows keeps its tag if it was at least this long.
_TAG_BYTES = 4096
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log.

    Attributes:
        number: from 1.
        data: its bytes, line end included.
        is_complete: False for a last line without a line end.
    """

    number: int
    data: bytes
    is_complete: bool


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file that exists; `compression` is `gzip`, `zstd` or None."""

    path: Path
    size_bytes: int
    compression: str | None

    @contextmanager
    def open(self, on_progress: OnProgress | None = None) -> Iterator[io.BufferedReader]:
        """Open the decompressed bytes from the start; text with a byte order mark becomes UTF-8.

        Raises:
            TraceError: on entering or from the block, if the bytes cannot be read or decompressed.
        """
        try:
            with self.path.open("rb") as raw:
                stream: Any = raw
                if self.compression is not None:
                    stream = pa.CompressedInputStream(raw, self.compression)
                yield io.BufferedReader(_Counted(stream, raw, on_progress), _CHUNK_BYTES)
                if on_progress is not None:
                    on_progress(self.size_bytes)
        except (OSError, pa.ArrowException) as problem:
            raise self.unreadable(problem) from problem

    def iter_lines(self, on_progress: OnProgress | None = None) -> Iterator[Line]:
        """Yield every line, including blank ones.

        Raises:
            TraceError: a line is longer than `LINE_BYTES_MAX`, or as `open`.
        """
        number = 0
        with self.open(on_progress) as stream:
            while data := stream.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(data) > LINE_BYTES_MAX:
                    raise TraceError(
                        f"{self.path}: line {number} is longer than {LINE_BYTES_MAX} bytes; "
                        "is this the right file? a log has a line end after every row"
                    )
                is_complete = data.endswith(b"\n")
                yield Line(number, data, is_complete)

    @contextmanager
    def as_seekable(self) -> Iterator[Path]:
        """Yield a path to the decompressed bytes: the file itself, or a temporary copy."""
        if self.compression is None:
            yield self.path
            return
        with scratch() as folder:
            copy = folder / "decompressed"
            with create(copy) as to:
                to.writelines(self._chunks())
            yield copy

    def _chunks(self) -> Iterator[bytes]:
        with self.open() as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk

    def tag(self) -> str:
        """Return eight hexadecimal digits derived from the beginning of the log, to identify it.

        The tag does not change if the log grows, is renamed or is compressed.

        Raises:
            TraceError: the bytes cannot be read.
        """
        with self.open() as stream:
            return hashlib.blake2b(stream.read(_TAG_BYTES), digest_size=4).hexdigest()

    def unreadable(self, problem: Exception) -> TraceError:
        """Return the error of bytes that cannot be read."""
        if self.compression is not None and getattr(problem, "strerror", None) is None:
            return TraceError(
                f"{self.path}: cannot be decompressed as {self.compression} "
                f"({first_line(problem)}); it is truncated or damaged, copy it again"
            )
        return unreadable(self.path, problem)


def find_log_file(path: Path) -> LogFile:
    """Read the size and the first bytes of a log file.

    Raises:
        TraceError: the file is missing, not a regular file or cannot be read.
    """
    try:
        if path.is_dir():
            raise TraceError(f"{path}: is a directory; name the log files in it")
        if not path.exists():
            raise TraceError(f"{path}: no such file; name the log file to import")
        if not path.is_file():
            raise TraceError(f"{path}: is not a regular file; save the log to a file first")
        with path.open("rb") as stream:
            head = stream.read(4)
        size_bytes = path.stat().st_size
    except (OSError, ValueError) as problem:
        if isinstance(problem, TraceError):
            raise
        raise unreadable(path, problem) from problem
    kinds = [kind for magic, kind in _MAGIC.items() if head.startswith(magic)]
    return LogFile(path, size_bytes, kinds[0] if kinds else None)


class _Counted(io.RawIOBase):
    """A readable stream that reports the position in the underlying raw file after every read, and
    converts text with a byte order mark to UTF-8.
    """

    def __init__(self, stream: Any, raw: IO[bytes], on_progress: OnProgress | None) -> None:
        self._stream = stream
        self._raw = raw
        self._on_progress = on_progress
        self._text = AsUtf8()
        #: Bytes that were read and did not fit into the buffer.
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            data = self._stream.read(len(buffer))
            self._left = self._text.feed(data, is_last=not data)
            if not data:
                break
        given, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(given)] = given
        if self._on_progress is not None:
            self._on_progress(self._raw.tell())
        return len(given)
