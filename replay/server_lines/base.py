"""What a format is: the words that give its lines away, and what reads them."""

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
        name: shown in tallies, such as "sglang load".
        words: one of them is in every line of the family; they steer the search through a log, so
            they are rare in other lines and hold no character that JSON escapes.
        read: the records of a line that has one of them; none when it only looks alike.
    """

    name: str
    words: tuple[str, ...]
    read: Callable[[LogLine, PlaceOf], Iterator[Record]]


@dataclass(frozen=True, slots=True)
class TransferLine:
    """A line about one transfer.

    Attributes:
        pattern: may name the groups `room`, `request`, `seconds`, `milliseconds` and `pages`; the
            reason begins where it begins.
    """

    engine: str
    trouble: TransferTrouble
    pattern: re.Pattern[str]


def transfer_reader(
    lines: Sequence[TransferLine],
) -> Callable[[LogLine, PlaceOf], Iterator[Record]]:
    """Reads lines by the first pattern that fits."""

    def read(line: LogLine, place_of: PlaceOf) -> Iterator[Record]:
        for one in lines:
            found = one.pattern.search(line.text)
            if found is None:
                continue
            said = found.groupdict()
            pages = said.get("pages")
            yield Transfer(
                place=place_of(one.engine, ""),
                trouble=one.trouble,
                room=said.get("room") or "",
                request_id=said.get("request") or "",
                reason=line.text[found.start() :][:REASON_CHARACTERS].strip(),
                timeout_s=_timeout_s(said),
                pages=int(pages) if pages else None,
            )
            return

    return read


def _timeout_s(said: dict[str, str | None]) -> float | None:
    if seconds := said.get("seconds"):
        return float(seconds)
    if milliseconds := said.get("milliseconds"):
        return float(milliseconds) / 1000
    return None
