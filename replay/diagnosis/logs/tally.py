"""What was read, for those who get no records and want to know why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ReadingTally:
    """Counts over all sources of one reading.

    Attributes:
        bytes_read: after decompression.
        lines: all of them, known or not.
        known: lines by format; empty when not one line was known.
        long_lines: lines of which only the beginning was examined.
        problems: one sentence each, such as a compressed file that breaks off.
    """

    bytes_read: int = 0
    lines: int = 0
    known: Counter[str] = field(default_factory=Counter)
    long_lines: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, name: str) -> None:
        """One more line of a format."""
        self.known[name] += 1
