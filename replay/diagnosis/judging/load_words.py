"""Numbers of status lines in words."""

from __future__ import annotations

from replay.diagnosis.judging.load_watch import LoadWatch


def amount(value: float, watch: LoadWatch) -> str:
    """What is in use, in the unit of the lines."""
    last = watch.last
    if last is not None and last.used_tokens is not None:
        return f"{value:.0f} tokens"
    return f"{value:.1%} of the pool"


def transfers_text(count: int | None) -> str:
    """So many transfers."""
    return "1 transfer" if count == 1 else f"{count} transfers"


def counted(lines: int) -> str:
    """So many lines."""
    return "1 line" if lines == 1 else f"{lines} lines"
