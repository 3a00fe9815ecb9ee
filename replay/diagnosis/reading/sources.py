"""Where logs come from: files, compressed or not, rotated ones in the order of time, or stdin."""

from __future__ import annotations

import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from replay.errors import LogError
from replay.server_lines.log_line import split_lines
from replay.server_lines.times import LogClock
from traces.byte_order import AsUtf8

#: Read at once.
CHUNK_BYTES = 2**20
#: Where the first time of a file is looked for.
_HEAD_BYTES = 64 * 1024
_GZIP = b"\x1f\x8b"
_GZIP_BYTES = 16 * 1024
#: Compressions that are recognised and not read.
_OTHERS = {b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip"}
#: `.gz`, then `.1`, `-20251015` and the like: what rotation adds to a name.
_ROTATED = re.compile(r"^(.+?)(?:[.-](\d{1,4}|\d{8}(?:-\d+)?))?(\.gz)?$")

STDIN = "-"


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log that can be opened.

    Attributes:
        name: as the user gave it; `-` is standard input.
        size_bytes: of the file as it lies there; None for standard input and pipes.
        family: the same for the rotated files of one log, whose lines go on from file to file.
    """

    name: str
    size_bytes: int | None
    family: str

    def chunks(
        self,
        progress: Callable[[int], None] | None = None,
        problems: list[str] | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Iterator[bytes]:
        """Yield the decompressed bytes, as UTF-8, in pieces of bounded size.

        Args:
            progress: called with the number of bytes read, for each piece.
            problems: gets a sentence when a compressed file breaks off; what was read stays good.
            chunk_bytes: read at once.

        Raises:
            LogError: the file cannot be read, or is compressed in a way that is not read here.
        """
        try:
            with _opened(self.name) as read:
                unpacked = self._unpacked(_pieces(read, chunk_bytes, progress), problems)
                yield from _as_utf8(unpacked)
        except OSError as problem:
            raise unreadable(self.name, problem) from problem

    def _unpacked(self, pieces: Iterator[bytes], problems: list[str] | None) -> Iterator[bytes]:
        first = next(pieces, b"")
        for magic, name in _OTHERS.items():
            if first.startswith(magic):
                raise LogError(
                    f"{self.name}: is compressed with {name}, which cannot be read; unpack it and pipe "
                    "it in: `... | kvreplay diagnose -`"
                )
        if first.startswith(_GZIP):
            yield from _gunzipped(self.name, first, pieces, problems)
            return
        if first:
            yield first
        yield from pieces


def unreadable(name: str, problem: OSError) -> LogError:
    """The error for a file that the system does not let us read."""
    return LogError(
        f"{name}: cannot be read: {problem.strerror or problem}; check its name and permissions"
    )


def open_logs(names: Sequence[str]) -> list[LogSource]:
    """The logs of a command line, rotated files of one log put in the order of time.

    Raises:
        LogError: one of them is missing, a directory, or not readable.
    """
    if not names:
        raise LogError("no log was given; name a file, or `-` for standard input")
    if names.count(STDIN) > 1:
        raise LogError("-: standard input can be read only once; name it once")
    sources = [_source(name) for name in names]
    families: dict[str, list[LogSource]] = {}
    for source in sources:
        families.setdefault(source.family, []).append(source)
    return [source for family in families.values() for source in _in_order(family)]


def _source(name: str) -> LogSource:
    if name == STDIN:
        if sys.stdin is None:
            raise LogError("-: standard input is closed; pipe a log into it or name a file")
        return LogSource(STDIN, None, STDIN)
    return LogSource(name, check_readable(name), family_of(name))


def check_readable(name: str) -> int | None:
    """The size of a file that can be read; None where that means nothing.

    Raises:
        LogError: it is missing, a directory, or not readable.
    """
    path = Path(name)
    try:
        if path.is_dir():
            raise LogError(f"{name}: is a directory; name the log files in it")
        size = path.stat().st_size
        if not path.is_file():
            # A pipe is opened once only.
            return None
        with path.open("rb"):
            return size
    except OSError as problem:
        raise unreadable(name, problem) from problem


@lru_cache(maxsize=4096)
def family_of(name: str) -> str:
    """The log that a file is a rotation of, or the file itself."""
    path = Path(name)
    found = _ROTATED.match(path.name)
    return name if found is None else str(path.with_name(found[1]))


def _in_order(family: list[LogSource]) -> list[LogSource]:
    """Rotated files by their first times; by their numbers, oldest first, where they have none."""
    if len(family) == 1:
        return family
    times = {source.name: _first_time_s(source) for source in family}
    if all(time is not None for time in times.values()):
        return sorted(family, key=lambda source: times[source.name] or 0.0)
    return sorted(family, key=_age, reverse=True)


def _age(source: LogSource) -> tuple[int, str]:
    """Greater for older files: `server.log` is the newest, then `.1`, `.2`; dates the other way."""
    found = _ROTATED.match(Path(source.name).name)
    suffix = None if found is None else found[2]
    if suffix is None:
        return (0, "")
    if len(suffix) < 5:
        return (int(suffix), "")
    return (1, "".join(chr(255 - ord(letter)) for letter in suffix))


def _first_time_s(source: LogSource) -> float | None:
    if source.size_bytes is None:
        return None
    head = next(source.chunks(chunk_bytes=_HEAD_BYTES), b"")
    clock = LogClock()
    for number, raw in enumerate(head[:_HEAD_BYTES].split(b"\n"), start=1):
        for line in split_lines(number, raw):
            stamp = clock.read(line.outer_time or line.head)
            if stamp is not None:
                return stamp.time_s
    return None


@contextmanager
def _opened(name: str) -> Iterator[Callable[[int], bytes]]:
    """A function that reads up to a number of bytes, and none at the end."""
    if name == STDIN:
        # read1 gives what a pipe has by now.
        buffer = sys.stdin.buffer
        yield buffer.read1 if isinstance(buffer, io.BufferedReader) else buffer.read
        return
    with Path(name).open("rb", buffering=0) as file:
        yield lambda size: file.read(size) or b""


def _pieces(
    read: Callable[[int], bytes], chunk_bytes: int, progress: Callable[[int], None] | None
) -> Iterator[bytes]:
    while piece := read(chunk_bytes):
        if progress is not None:
            progress(len(piece))
        yield piece


def _as_utf8(pieces: Iterator[bytes]) -> Iterator[bytes]:
    text = AsUtf8()
    for piece in pieces:
        if data := text.feed(piece):
            yield data
    if data := text.feed(b"", is_last=True):
        yield data


def _gunzipped(
    name: str, first: bytes, pieces: Iterator[bytes], problems: list[str] | None
) -> Iterator[bytes]:
    """Unpack gzip, member by member; damage is reported once."""
    unpacker = zlib.decompressobj(wbits=31)
    piece: bytes | None = first
    try:
        while piece is not None:
            while piece:
                if unpacker.eof:
                    # Zeros may fill up the end of a file.
                    piece = piece.lstrip(b"\x00")
                    if not piece:
                        break
                    unpacker = zlib.decompressobj(wbits=31)
                # Damage loses the output of a whole call, so each gets few bytes.
                unpacked = unpacker.decompress(piece[:_GZIP_BYTES], CHUNK_BYTES)
                if unpacked:
                    yield unpacked
                left = unpacker.unconsumed_tail or unpacker.unused_data
                piece = left + piece[_GZIP_BYTES:]
            piece = next(pieces, None)
        if unpacker.eof:
            return
        problem = "ends early"
    except zlib.error:
        problem = "is damaged"
    if problems is not None:
        problems.append(f"{name}: its compressed data {problem}; everything before that was read")
