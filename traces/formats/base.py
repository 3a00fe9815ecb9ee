"""What a log format is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traces.formats.reader import LogReader
    from traces.formats.sample import Sample
    from traces.schema import TraceRequest


@dataclass(frozen=True, slots=True)
class LogFormat:
    """One format of logs.

    Attributes:
        source: the note in the footer of traces made from it.
        matches: whether a file is of this format, from its beginning.
        read: yields a file's rows as requests, in the order of the file, telling the reader of
            every row that is none. Arrivals need not be sorted.
        is_wall_clock: arrivals count from 1970; the trace's then start at 0.
        takes_block_size: the user may say how many tokens a block hash covers.
    """

    source: str
    matches: Callable[[Sample], bool]
    read: Callable[[LogReader], Iterator[TraceRequest]]
    is_wall_clock: bool = True
    takes_block_size: bool = False
