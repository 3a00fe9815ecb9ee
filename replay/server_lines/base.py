"""What a family of lines is: the words that give its lines away, and what reads them.

A family has a module of its own, with what reads its lines and, where a replay can write them
(`replay.engine_log`), the functions that do, so that both change together. Its sources are named there.
Families whose messages go on over several lines are put together in `replay.diagnosis.reading`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from replay.server_lines.log_line import LogLine
from replay.server_lines.records import Place, Record, Transfer, TransferTrouble

#: Makes the place of a line, for an engine and, where the line has no tag, the rank it names itself.
PlaceOf = Callable[[str, str], Place]

#: Parts of patterns: what a request is called, a time, and a number of pages, each of bounded length.
REQUEST = r"(?P<request>[\w:/-]{1,200}(?:\.[\w:/-]{1,200}){0,20})"
SECONDS = r"(?P<seconds>\d{1,9}(?:\.\d{1,9})?)"
MILLISECONDS = r"(?P<milliseconds>\d{1,12})"
PAGES = r"(?P<pages>\d{1,12})"

#: A reason in an engine's words is cut here.
REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Family:
    """Lines of one family, each complete in itself.

    Attributes:
        name: as tallies have it, such as "sglang load".
        words: one of them is in every line of the family; they steer the search through a log, so
            they are rare in other lines and hold no character that JSON escapes.
        read: the records of a line that has one of them; none when it only looks alike.
    """

    name: str
    words: tuple[str, ...]
    read: Callable[[LogLine, PlaceOf], Iterator[Record]]


def transfer_family(
    name: str, engine: str, words: tuple[str, ...], lines: Sequence[tuple[TransferTrouble, str]]
) -> Family:
    """A family of lines about one transfer each, read by the first pattern that fits.

    A pattern may name the groups `room`, `request`, `seconds`, `milliseconds` and `pages`; the
    reason begins where the pattern does.
    """
    patterns = [(trouble, re.compile(pattern)) for trouble, pattern in lines]

    def read(line: LogLine, place_of: PlaceOf) -> Iterator[Record]:
        for trouble, pattern in patterns:
            found = pattern.search(line.text)
            if found is None:
                continue
            said = found.groupdict()
            pages = said.get("pages")
            yield Transfer(
                place=place_of(engine, ""),
                trouble=trouble,
                room=said.get("room") or "",
                request_id=said.get("request") or "",
                reason=line.text[found.start() :][:REASON_CHARACTERS].strip(),
                timeout_s=_timeout_s(said),
                pages=int(pages) if pages else None,
            )
            return

    return Family(name, words, read)


def _timeout_s(said: dict[str, str | None]) -> float | None:
    if seconds := said.get("seconds"):
        return float(seconds)
    if milliseconds := said.get("milliseconds"):
        return float(milliseconds) / 1000
    return None
