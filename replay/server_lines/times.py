"""Times as logs have them, made comparable within one log.

Engines that leave the year out (vllm, glog) get one: that of the lines beside them where those say,
else a leap year of the past. When such a log goes from December to January, a year is added.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from functools import lru_cache

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?"
)
#: TensorRT-LLM: [08/29/2025-09:12:47]
_SLASHES = re.compile(r"\[(\d\d)/(\d\d)/(\d{4})-(\d\d):(\d\d):(\d\d)\]")
#: vllm: INFO 10-14 17:04:48
_NO_YEAR = re.compile(r"(?<![\d-])(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?")
#: glog: I0616 06:29:14.501163
_GLOG = re.compile(r"(?:^|[\s\]])[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")

#: Before any log of these engines, and leap.
_YEAR_UNKNOWN = 1972
_HALF_A_YEAR_S = 183 * 86_400


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time as a line has it: seconds, and its own words made ISO 8601 where they allow."""

    time_s: float
    time: str


class LogClock:
    """Reads the times of one log."""

    def __init__(self) -> None:
        self._year: int | None = None
        #: Subtracted from years once some times without a year were read as of 1972.
        self._years_back = 0
        self._last_without_year_s: float | None = None

    def read(self, text: str) -> Stamp | None:
        """The first valid time in a line's head; None without one."""
        if found := _ISO.search(text):
            year, month, day, hour, minute, second, fraction, zone = found.groups()
            clock = f"{hour}:{minute}:{second}" + (f".{fraction}" if fraction else "")
            words = f"{year}-{month}-{day}T{clock}{zone or ''}"
            return self._dated(
                int(year), (month, day, hour, minute, second, fraction), words, _offset_s(zone)
            )
        if found := _SLASHES.search(text):
            month, day, year, hour, minute, second = found.groups()
            words = f"{year}-{month}-{day}T{hour}:{minute}:{second}"
            return self._dated(int(year), (month, day, hour, minute, second, None), words, 0)
        if found := _NO_YEAR.search(text) or _GLOG.search(text):
            return self._undated(found.groups())
        return None

    def _dated(
        self, year: int, parts: tuple[str | None, ...], words: str, offset_s: int
    ) -> Stamp | None:
        if self._year is None:
            self._year = year
        elif self._year == _YEAR_UNKNOWN and not self._years_back and year != _YEAR_UNKNOWN:
            self._years_back = year - _YEAR_UNKNOWN
        time_s = _seconds(year - self._years_back, parts)
        return None if time_s is None else Stamp(time_s - offset_s, words)

    def _undated(self, parts: tuple[str | None, ...]) -> Stamp | None:
        if self._year is None:
            self._year = _YEAR_UNKNOWN
        time_s = _seconds(self._year, parts)
        if time_s is None:
            return None
        last_s = self._last_without_year_s
        if last_s is not None and time_s < last_s - _HALF_A_YEAR_S:
            self._year += 1
            time_s = _seconds(self._year, parts) or time_s
        self._last_without_year_s = time_s
        month, day, hour, minute, second, fraction = parts
        words = f"{month}-{day} {hour}:{minute}:{second}" + (f".{fraction}" if fraction else "")
        return Stamp(time_s, words)


def _offset_s(zone: str | None) -> int:
    """Seconds that a zone such as +08:00 is ahead of UTC."""
    if not zone or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    ahead_s = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -ahead_s if zone[0] == "-" else ahead_s


def _seconds(year: int, parts: tuple[str | None, ...]) -> float | None:
    """Seconds since 1970, ignoring zones; None for an invalid date."""
    month, day, hour, minute, second = (int(part or 0) for part in parts[:5])
    if year < 1 or not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    if not (hour < 24 and minute < 60 and second < 61):
        return None
    fraction = parts[5]
    whole_s = _day_s(year, month, day) + hour * 3600 + minute * 60 + second
    return whole_s + (float(f"0.{fraction}") if fraction else 0.0)


@lru_cache(maxsize=64)
def _day_s(year: int, month: int, day: int) -> int:
    return calendar.timegm((year, month, day, 0, 0, 0, 0, 0, 0))
