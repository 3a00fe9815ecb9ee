"""Writes trace events one by one, in constant memory, counts them, and lays slices on lanes."""

from __future__ import annotations

import gzip
import heapq
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from traces.files.writing import create
from traces.text import json_text, shortened

#: Twice as fast as the usual 6, and within a fifth of its size.
_GZIP_LEVEL = 4

#: Each of the slices, arrows and marks of a request has its id.
_TEXT_CHARACTERS_MAX = 1_000


def quoted(text: str) -> str:
    """A text as JSON has it and as a viewer can show it, whatever is in it."""
    return json.dumps(shortened(text, _TEXT_CHARACTERS_MAX), ensure_ascii=False)


class TraceFile:
    """An open trace file: processes, threads and events; times are virtual microseconds.

    Ids of processes and threads are handed out here and never twice.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`; `trace_file` opens one and closes it in good order."""
        self._stream = stream
        self._ids = 0
        self._is_first = True
        #: Events written, by what they show.
        self.counts: Counter[str] = Counter()

    def process(self, name: str) -> int:
        """A new process, shown below those before it."""
        pid = self._next_id()
        self._name("process", pid, pid, name)
        return pid

    def thread(self, pid: int, name: str) -> int:
        """A new thread of a process, shown below those before it."""
        tid = self._next_id()
        self._name("thread", pid, tid, name)
        return tid

    def slice(
        self, kind: str, name: str, pid: int, tid: int, start_us: int, end_us: int, args: str = ""
    ) -> None:
        """Something that took time, unless it took none; `name` and `args` are JSON already."""
        if end_us <= start_us:
            return
        told = f',"args":{args}' if args else ""
        self._write(
            f'{{"ph":"X","name":{name},"cat":"{kind}","pid":{pid},"tid":{tid},"ts":{start_us},'
            f'"dur":{end_us - start_us}{told}}}'
        )
        self.counts[kind] += 1

    def instant(self, kind: str, name: str, pid: int, tid: int, time_us: int, args: str) -> None:
        """Something that happened at a moment; `name` and `args` are JSON already."""
        self._write(
            f'{{"ph":"i","s":"t","name":{name},"cat":"{kind}","pid":{pid},"tid":{tid},'
            f'"ts":{time_us},"args":{args}}}'
        )
        self.counts[kind] += 1

    def counters(self, name: str, pid: int, times_us: Iterable[int], tokens: Iterable[int]) -> None:
        """A number of a process wherever it changes; `name` is JSON already."""
        # By far the most events are counters, so they are put together at once.
        head = f'{{"ph":"C","name":{name},"pid":{pid},"tid":{pid},"ts":'
        events = [
            f'{head}{time_us},"args":{{"tokens":{value}}}}}'
            for time_us, value in zip(times_us, tokens, strict=True)
        ]
        if events:
            self._write(",\n".join(events))
        self.counts["counter"] += len(events)

    def arrow(
        self, name: str, start: tuple[int, int, int], end: tuple[int, int, int], number: int
    ) -> None:
        """An arrow between two slices; each end is (process, thread, time in microseconds)."""
        for phase, (pid, tid, time_us) in (('"s"', start), ('"f","bp":"e"', end)):
            self._write(
                f'{{"ph":{phase},"name":{name},"cat":"arrow","id":{number},"pid":{pid},'
                f'"tid":{tid},"ts":{time_us}}}'
            )
        self.counts["arrow"] += 1

    def _name(self, what: str, pid: int, tid: int, name: str) -> None:
        head = f'"ph":"M","pid":{pid},"tid":{tid}'
        self._write(f'{{{head},"name":"{what}_name","args":{{"name":{quoted(name)}}}}}')
        self._write(f'{{{head},"name":"{what}_sort_index","args":{{"sort_index":{tid}}}}}')

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids

    def _write(self, event: str) -> None:
        self._stream.write(event if self._is_first else f",\n{event}")
        self._is_first = False


class Lanes:
    """Hands out lanes to intervals that come in the order of their start.

    A lane is free again when the interval on it has ended; the first free one is taken, so that there
    are never more lanes than intervals at one moment.
    """

    def __init__(self, make: Callable[[int], int]) -> None:
        """`make` makes lane number n (from 1) and returns its id."""
        self._make = make
        self._ids: list[int] = []
        self._free: list[int] = []
        self._busy: list[tuple[int, int]] = []

    def take(self, start_us: int, end_us: int) -> int:
        """The id of a lane on which nothing lies between start and end."""
        while self._busy and self._busy[0][0] <= start_us:
            heapq.heappush(self._free, heapq.heappop(self._busy)[1])
        if self._free:
            lane = heapq.heappop(self._free)
        else:
            lane = len(self._ids)
            self._ids.append(self._make(lane + 1))
        heapq.heappush(self._busy, (end_us, lane))
        return self._ids[lane]


@contextmanager
def trace_file(path: Path, about: Mapping[str, Any], *, compress: bool) -> Iterator[TraceFile]:
    """A trace file to write to; the same events make the same bytes.

    Args:
        path: where to write; whoever calls puts it into place.
        about: what `otherData` says.
        compress: whether it is gzip; its header then names no file and no time.
    """
    with create(path) as raw:
        if not compress:
            with _text(raw) as stream:
                yield from _document(stream, about)
            return
        with (
            gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as zipped,
            _text(zipped) as stream,
        ):
            yield from _document(stream, about)


def _document(stream: TextIO, about: Mapping[str, Any]) -> Iterator[TraceFile]:
    told = json_text(about, indent=None)
    stream.write(f'{{"displayTimeUnit":"ms","otherData":{told},"traceEvents":[\n')
    yield TraceFile(stream)
    stream.write("\n]}\n")


def _text(binary: Any) -> TextIO:
    return io.TextIOWrapper(binary, encoding="utf-8", newline="\n", write_through=False)
