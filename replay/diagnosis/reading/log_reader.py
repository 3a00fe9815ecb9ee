"""Reads the records of servers' logs, whoever wrote them, in bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from replay.diagnosis.reading.blocks import BlockCutter
from replay.diagnosis.reading.check_assembly import (
    CHECK_WORDS,
    WAIT_LINES,
    CheckAssembly,
    OpenCheck,
)
from replay.diagnosis.reading.scan import Scanner
from replay.diagnosis.reading.sources import LogSource
from replay.server_lines.crashes import CRASH_WORDS, Tracebacks
from replay.server_lines.log_line import LogLine, PrefixReader, split_lines
from replay.server_lines.records import Record
from replay.server_lines.registry import FAMILIES
from replay.server_lines.sglang_load import read_status


@dataclass(slots=True)
class ReadingTally:
    """Counts over all sources of one reading.

    Attributes:
        bytes_read: after decompression.
        lines: all of them, known or not.
        known: recognised lines by family.
        long_lines: lines of which only the beginning was examined.
        problems: one sentence each, such as a compressed file that ends early.
    """

    bytes_read: int = 0
    lines: int = 0
    known: Counter[str] = field(default_factory=Counter)
    long_lines: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, name: str) -> None:
        """One more line of a family."""
        self.known[name] += 1


#: Lines without any of these are skipped; status lines are searched for separately.
WORDS = (
    *CHECK_WORDS,
    *CRASH_WORDS,
    *(word for one in FAMILIES for word in one.words),
)

#: Records that wait behind an incomplete check.
_WAITING_MAX = 4096
#: Searched at once, where status lines may be thinned.
BLOCK_BYTES = 4 * 2**20
#: From here on status lines are thinned; before, more than 25,000 of them are read.
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
        self._number = 0
        self._prefixes = PrefixReader(source)
        self._checks = CheckAssembly()
        self._tracebacks = Tracebacks()
        self._waiting: deque[Record | OpenCheck] = deque()

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are complete with these bytes."""
        self.tally.bytes_read += len(data)
        for block in self._cutter.feed(data):
            yield from self._read(block)

    def flush(self) -> Iterator[Record]:
        """The records that wait for further lines: for a log that has gone quiet and may go on."""
        yield from self._read(self._cutter.whole_lines())
        yield from self._release(None)

    def finish(self) -> Iterator[Record]:
        """The records that are left when the log ends."""
        yield from self._read(self._cutter.finish())
        yield from self._release(None)

    def _read(self, block: bytes) -> Iterator[Record]:
        if not block:
            return
        found = self._scanner.lines(block, thins=self._thins and self._bytes >= WHOLE_BYTES)
        self._bytes += len(block)
        self.tally.lines += found.lines
        self.tally.long_lines += found.long_lines
        for index, raw in found.wanted:
            number = self._number + index + 1
            for line in split_lines(number, raw):
                self._read_line(line)
            yield from self._release(number)
        self._number += found.lines
        yield from self._release(self._number)

    def _read_line(self, line: LogLine) -> None:
        prefix = self._prefixes.read(line)
        status = read_status(line, prefix.place)
        if status:
            self.tally.count("sglang load")
            self._waiting.extend(status)
            return
        is_check = False
        if any(word in line.text for word in CHECK_WORDS):
            is_raised = self._tracebacks.is_raised(line)
            check = self._checks.read(line, self._tracebacks.prefix_of(line, prefix), is_raised)
            if check is not None:
                self._waiting.append(check)
                self.tally.count("sglang check")
                is_check = True
        for one in FAMILIES:
            if any(word in line.text for word in one.words):
                records = list(one.read(line, prefix.place))
                if records:
                    self.tally.count(one.name)
                    self._waiting.extend(records)
                    break
        if any(word in line.text for word in CRASH_WORDS):
            crash = self._tracebacks.read(line, prefix, is_check)
            if crash is not None:
                self.tally.count("crash")
                self._waiting.append(crash)

    def _release(self, number: int | None) -> Iterator[Record]:
        """Records from the front, up to a check that may still get lines."""
        waiting = self._waiting
        while waiting:
            first = waiting[0]
            if not isinstance(first, OpenCheck):
                yield waiting.popleft()  # type: ignore[misc]
                continue
            is_due = number is None or number - first.last_line > WAIT_LINES
            if not is_due and len(waiting) <= _WAITING_MAX:
                return
            waiting.popleft()
            self._checks.drop(first)
            while (twin := self._checks.twin(first)) is not None:
                first.merge(twin)
                self._checks.drop(twin)
                waiting.remove(twin)
            yield from first.records()


def read_records(
    sources: Sequence[LogSource],
    progress: Callable[[int], None] | None = None,
    tally: ReadingTally | None = None,
) -> Iterator[Record]:
    """The records of logs, each log in its own order, one log after the other.

    Status lines are thinned in logs longer than `WHOLE_BYTES`.

    Args:
        sources: what `open_logs` gives.
        progress: called with the number of bytes read since the last call.
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
