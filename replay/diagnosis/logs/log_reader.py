"""The records of one log's lines, in the order of the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from replay.diagnosis.logs.check_assembly import CHECK_WORDS, WAIT_LINES, CheckAssembly, OpenCheck
from replay.diagnosis.logs.crashes import CRASH_WORDS, Tracebacks
from replay.diagnosis.logs.tally import ReadingTally
from replay.server_lines.heads import HeadReader
from replay.server_lines.lines import Line, clean_lines
from replay.server_lines.records import Record
from replay.server_lines.registry import FORMATS
from replay.server_lines.sglang_load import read_status

#: Lines that have none of these say nothing; the status lines' own are searched for apart.
WORDS = (
    *CHECK_WORDS,
    *CRASH_WORDS,
    *(word for one in FORMATS for word in one.words),
)

#: Records that wait behind a check that is not complete.
_WAITING_MAX = 4096


class LogReader:
    """Reads the lines of one log that have one of `WORDS`; all others may be left out."""

    def __init__(self, source: str, tally: ReadingTally) -> None:
        self._tally = tally
        self._heads = HeadReader(source)
        self._checks = CheckAssembly()
        self._tracebacks = Tracebacks()
        self._waiting: deque[Record | OpenCheck] = deque()

    def read(self, number: int, raw: bytes) -> Iterator[Record]:
        """Take in a line; what can be told by now."""
        for line in clean_lines(number, raw):
            self._read_line(line)
        return self._release(number)

    def advance(self, number: int) -> Iterator[Record]:
        """Say that all lines up to a number have been looked at."""
        return self._release(number)

    def finish(self) -> Iterator[Record]:
        """What waits for further lines that will not come."""
        return self._release(None)

    def _read_line(self, line: Line) -> None:
        head = self._heads.read(line)
        status = read_status(line, head.place)
        if status:
            self._tally.count("sglang load")
            self._waiting.extend(status)
            return
        is_check = False
        if any(word in line.text for word in CHECK_WORDS):
            is_raised = self._tracebacks.is_raised(line)
            check = self._checks.read(line, self._tracebacks.head_of(line, head), is_raised)
            if check is not None:
                self._waiting.append(check)
                self._tally.count("sglang check")
                is_check = True
        for one in FORMATS:
            if any(word in line.text for word in one.words):
                records = list(one.read(line, head.place))
                if records:
                    self._tally.count(one.name)
                    self._waiting.extend(records)
                    break
        if any(word in line.text for word in CRASH_WORDS):
            crash = self._tracebacks.read(line, head, is_check)
            if crash is not None:
                self._tally.count("crash")
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
