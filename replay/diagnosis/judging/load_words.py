"""Numbers of status lines in words."""

from __future__ import annotations

from replay.diagnosis.judging.load_watch import LoadWatch


def amount(value: float, watch: LoadWatch) -> str:
    """What is in use, in the unit of the lines."""
    last = watch.last
    if last is not None and last.used_tokens is not None:
        return f"{value:.0f} tokens"
    return f"{value:.1%} of the pool"
