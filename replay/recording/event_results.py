"""The word that begins the result of an event: what its receiver made of it, in `events.parquet`.

accepted   counted, or acted upon                    kept     believed only once its bytes land
ignored    nobody waited for it, or not any more     crashed  it would have killed the scheduler
lost       it never came                             missed   aimed at a state that had passed

What follows the word says more; only the words are looked for.
"""

from __future__ import annotations

ACCEPTED = "accepted"
LOST = "lost"
NOT_BEFORE_THE_END = "not before the end"
CRASHED = "crashed the scheduler"


def accepted(how: str) -> str:
    """It was accepted, in a way that is not the usual one."""
    return f"{ACCEPTED}: {how}"


def ignored(why: str) -> str:
    """Its receiver made nothing of it."""
    return f"ignored: {why}"


def kept_for_later(why: str) -> str:
    """Its receiver will take it up later."""
    return f"kept: {why}"


def missed(why: str) -> str:
    """An abort or a timeout that was aimed at a state found another."""
    return f"missed: {why}"


def was_accepted(result: str) -> bool:
    """Whether the receiver took it."""
    return result.startswith(ACCEPTED)


def was_ignored(result: str) -> bool:
    """Whether the receiver made nothing of it."""
    return result.startswith("ignored")


def has_missed(result: str) -> bool:
    """Whether it was aimed at a state that had passed."""
    return result.startswith("missed")


def has_crashed(result: str) -> bool:
    """Whether it would have killed the real scheduler."""
    return result.startswith(CRASHED)
