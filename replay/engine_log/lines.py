"""Lines with their times, and how those of SGLang begin."""

from __future__ import annotations

from typing import NamedTuple

from replay.engine_log.servers import stamp


class Line(NamedTuple):
    """What one process wrote at once: one line, or several without their last newline."""

    time_us: int
    text: str


def tagged(time_us: int, tag: str, message: str) -> Line:
    """A line as SGLang's processes log it (0.4.6.post4 and 0.5.23 `utils.py`, configure_logger)."""
    return Line(time_us, f"[{stamp(time_us)}{tag}] {message}")
