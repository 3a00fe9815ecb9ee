"""Logs in, a diagnosis out: of whole logs at once, or of one that is still being written.

A log is rotated by moving it away and starting another of its name (another inode) or by truncating
it (it gets shorter). Either way the old contents are read to their end first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path

from replay.diagnosis.diagnosis import Diagnosis
from replay.diagnosis.judging.judge import Judge
from replay.diagnosis.reading.log_reader import LineReader, ReadingTally, read_records
from replay.diagnosis.reading.metrics import read_metrics
from replay.diagnosis.reading.sources import LogSource, unreadable
from traces.byte_order import AsUtf8


def diagnose(
    sources: Sequence[LogSource],
    metrics: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Judge logs and files of scraped metrics, in bounded memory whatever their length.

    Args:
        sources: what `replay.diagnosis.reading.sources.open_logs` gives.
        metrics: names of files.
        progress: called with the number of bytes read since the last call.

    Raises:
        LogError: one of them cannot be read.
    """
    judge, tally = Judge(), ReadingTally()
    for source in sources:
        judge.expect(source.name)
    judge.add_all(read_records(sources, progress, tally))
    for name in metrics:
        judge.add_all(read_metrics(name, tally))
    return judge.diagnosis(tally.lines, sum(tally.known.values()), tuple(tally.problems))


_CHUNK_BYTES = 2**20


class Follower:
    """A log under watch; `poll` reads new lines."""

    def __init__(self, name: str) -> None:
        """Open the log.

        Raises:
            LogError: it cannot be read.
        """
        self._name = name
        self._tally = ReadingTally()
        self._judge = Judge()
        try:
            self._file = FileIO(name)
        except OSError as problem:
            raise unreadable(name, problem) from problem
        self._begin()

    def poll(self) -> bool:
        """Read what has been written since; whether there was anything."""
        grew = self._read_on()
        if self._was_cut():
            self._end_of_file()
            self._file.seek(0)
            grew |= self._read_on()
        elif (other := self._successor()) is not None:
            # Written between the last look and the rotation.
            grew |= self._read_on()
            self._end_of_file()
            self._file.close()
            self._file = other
            grew |= self._read_on()
        if not grew:
            known = self._judge.records
            self._judge.add_all(self._reader.flush())
            grew = self._judge.records != known
        return grew

    def finish(self) -> None:
        """Take records that still wait for further lines, after the last poll."""
        self._judge.add_all(self._reader.flush())

    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far, without a message that is still being written."""
        tally = self._tally
        return self._judge.diagnosis(tally.lines, sum(tally.known.values()), tuple(tally.problems))

    def _read_on(self) -> bool:
        grew = False
        while data := self._file.read(_CHUNK_BYTES):
            self._judge.add_all(self._reader.feed(self._text.feed(data)))
            grew = True
        return grew

    def _begin(self) -> None:
        """Make ready for the first byte of a file."""
        self._reader, self._text = LineReader(self._name, self._tally), AsUtf8()

    def _end_of_file(self) -> None:
        self._judge.add_all(self._reader.feed(self._text.feed(b"", is_last=True)))
        self._judge.add_all(self._reader.finish())
        self._begin()

    def _was_cut(self) -> bool:
        return os.fstat(self._file.fileno()).st_size < self._file.tell()

    def _successor(self) -> FileIO | None:
        """The file that has taken the log's name, if another has."""
        try:
            there, here = Path(self._name).stat(), os.fstat(self._file.fileno())
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return None
            return FileIO(self._name)
        except OSError:
            # Between the move and the new file there is none; it is looked for again.
            return None
