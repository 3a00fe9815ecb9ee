"""Reads the records of servers' logs, whoever wrote them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from replay.diagnosis.logs.blocks import BlockCutter
from replay.diagnosis.logs.log_reader import WORDS, LogReader
from replay.diagnosis.logs.scan import Scanner
from replay.diagnosis.logs.source import LogSource
from replay.diagnosis.logs.tally import ReadingTally
from replay.server_lines.records import Record

#: What is searched at once, where status lines may be thinned.
BLOCK_BYTES = 4 * 2**20
#: The beginning of a log of which every status line is read: more than 25,000 of them.
WHOLE_BYTES = 8 * 2**20


class LineReader:
    """Reads one log as its bytes come, cut anywhere.

    Args:
        source: the log's name, for the places of its records.
        tally: counts what is read.
        thins: leaves out status lines where there are many (see `thinning`), from `WHOLE_BYTES` on.
            Records then come a block at a time.
    """

    def __init__(
        self, source: str, tally: ReadingTally | None = None, *, thins: bool = False
    ) -> None:
        self.tally = ReadingTally() if tally is None else tally
        self._cutter = BlockCutter(BLOCK_BYTES if thins else 0)
        self._scanner = Scanner(WORDS)
        self._thins = thins
        self._bytes = 0
        self._reader = LogReader(source, self.tally)
        self._number = 0

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that can be told with these further bytes of the log."""
        self.tally.bytes_read += len(data)
        for block in self._cutter.feed(data):
            yield from self._read(block)

    def flush(self) -> Iterator[Record]:
        """The records that wait for further lines: for a log that has gone quiet and may go on."""
        yield from self._read(self._cutter.whole_lines())
        yield from self._reader.finish()

    def finish(self) -> Iterator[Record]:
        """The records that are left when the log ends."""
        yield from self._read(self._cutter.finish())
        yield from self._reader.finish()

    def _read(self, block: bytes) -> Iterator[Record]:
        if not block:
            return
        found = self._scanner.lines(block, thins=self._thins and self._bytes >= WHOLE_BYTES)
        self._bytes += len(block)
        self.tally.lines += found.lines
        self.tally.long_lines += found.long_lines
        for index, raw in found.wanted:
            yield from self._reader.read(self._number + index + 1, raw)
        self._number += found.lines
        yield from self._reader.advance(self._number)


def read_records(
    sources: Sequence[LogSource],
    progress: Callable[[int], None] | None = None,
    tally: ReadingTally | None = None,
) -> Iterator[Record]:
    """The records of logs, each log in its own order, one log after the other.

    Status lines are thinned in logs longer than `WHOLE_BYTES`.

    Args:
        sources: what `open_logs` gives.
        progress: told how many bytes of the files were read, now and then.
        tally: counts what was read.

    Raises:
        LogError: a log cannot be read.
    """
    tally = ReadingTally() if tally is None else tally
    for source in sources:
        reader = LineReader(source.name, tally, thins=True)
        for chunk in source.chunks(progress, tally.problems):
            yield from reader.feed(chunk)
        yield from reader.finish()
