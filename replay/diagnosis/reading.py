"""Reads the records of servers' logs, whoever wrote them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from replay.diagnosis.lines import LINE_BYTES_MAX
from replay.diagnosis.log_reader import WORDS, LogReader
from replay.diagnosis.records import Record
from replay.diagnosis.source import LogSource
from replay.diagnosis.tally import ReadingTally

_WORDS = tuple(word.encode() for word in WORDS)


class LineReader:
    """Reads one log as its bytes come, cut anywhere."""

    def __init__(self, source: str, tally: ReadingTally | None = None) -> None:
        self.tally = ReadingTally() if tally is None else tally
        self._reader = LogReader(source, self.tally)
        self._rest = b""
        self._is_skipping = False
        self._number = 0

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that can be told with these further bytes of the log."""
        self.tally.bytes_read += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for raw in lines:
            yield from self._line(raw)
        yield from self._reader.advance(self._number)
        if len(self._rest) > LINE_BYTES_MAX:
            # The rest of this line will not be examined.
            self._rest = self._rest[: LINE_BYTES_MAX + 1]

    def flush(self) -> Iterator[Record]:
        """The records that wait for further lines: for a log that has gone quiet and may go on."""
        yield from self._reader.finish()

    def finish(self) -> Iterator[Record]:
        """The records that are left when the log ends."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._line(rest)
        yield from self._reader.finish()

    def _line(self, raw: bytes) -> Iterator[Record]:
        self._number += 1
        self.tally.lines += 1
        if len(raw) > LINE_BYTES_MAX:
            self.tally.long_lines += 1
            raw = raw[:LINE_BYTES_MAX]
        if any(word in raw for word in _WORDS):
            yield from self._reader.read(self._number, raw)


def read_records(
    sources: Sequence[LogSource],
    progress: Callable[[int], None] | None = None,
    tally: ReadingTally | None = None,
) -> Iterator[Record]:
    """The records of logs, each log in its own order, one log after the other.

    Args:
        sources: what `open_logs` gives.
        progress: told how many bytes of the files were read, now and then.
        tally: counts what was read.

    Raises:
        LogError: a log cannot be read.
    """
    tally = ReadingTally() if tally is None else tally
    for source in sources:
        reader = LineReader(source.name, tally)
        for chunk in source.chunks(progress, tally.problems):
            yield from reader.feed(chunk)
        yield from reader.finish()
