"""What a format is: the words that give its lines away, and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from replay.diagnosis.lines import Line
from replay.diagnosis.records import Place, Record

#: Makes the place of a line, for an engine and, where the line has no tag, the rank it names itself.
PlaceOf = Callable[[str, str], Place]


@dataclass(frozen=True, slots=True)
class Format:
    """Lines of one family, each complete in itself.

    Attributes:
        name: shown in tallies, such as "sglang load".
        words: one of them is in every line of the family; they steer the search through a log, so
            they are rare in other lines and hold no character that JSON escapes.
        read: the records of a line that has one of them; none when it only looks alike.
    """

    name: str
    words: tuple[str, ...]
    read: Callable[[Line, PlaceOf], Iterator[Record]]
