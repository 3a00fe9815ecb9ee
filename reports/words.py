"""Numbers and times as a person reads them; nothing here knows about HTML."""

from __future__ import annotations

from replay.recording import words
from replay.recording.kinds import VERDICT_SIGNS
from replay.recording.words import counted as counted

#: Shown where there is nothing to show.
NOTHING = "\N{EM DASH}"

#: Verdict -> (sign, as the terminal prints it; what it means in a few words).
VERDICTS: dict[str, tuple[str, str]] = {
    "clean": (VERDICT_SIGNS["clean"], "no gap in any audit"),
    "transient": (VERDICT_SIGNS["transient"], "a gap opened and healed"),
    "persistent": (VERDICT_SIGNS["persistent"], "it never healed"),
    "inconclusive": (VERDICT_SIGNS["inconclusive"], "this replay cannot tell"),
}

_GROWTH = {
    None: "no gap was left when the replay ended",
    "one-off": "one-off: it did not widen in the clean cycles afterwards",
    "growing": "growing: it widened in the clean cycles afterwards",
    "unknown": "unknown: at least three clean cycles are needed to tell (--repeat 3)",
}

_DIRECTION = {
    None: "none",
    "leak": "leak: pages are missing",
    "over-free": "over-free: more pages are free than exist",
}


def verdict_words(verdict: str) -> tuple[str, str]:
    """A verdict's sign and what it means in a few words."""
    return VERDICTS.get(verdict, ("?", "an unknown verdict"))


def number(value: int | None) -> str:
    """A whole number as everywhere; nothing for None."""
    return NOTHING if value is None else words.number(value)


def seconds(time_us: int | None, digits: int = 3) -> str:
    """A virtual time in seconds, given in microseconds."""
    return NOTHING if time_us is None else f"{time_us / 1e6:,.{digits}f} s"


def plain_seconds(time_us: int | None, digits: int = 3) -> str:
    """The same without its unit, for a column whose heading has it."""
    return seconds(time_us, digits).removesuffix(" s")


def growth(value: str | None) -> str:
    """What the summary's growth means."""
    return _GROWTH.get(value, str(value))


def direction(value: str | None) -> str:
    """What the summary's direction means."""
    return _DIRECTION.get(value, str(value))


def shown(count: int, of: int) -> str:
    """How many of a list are shown: `all 12`, or `showing 10 of 12`."""
    return f"all {number(of)}" if count == of else f"showing {number(count)} of {number(of)}"


def as_sentence(text: str) -> str:
    """Words that begin small and end without a stop, as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def by_count(counts: dict[str, int]) -> str:
    """Counts by name on one line, such as `328 stuck, 4 held`."""
    return ", ".join(f"{number(count)} {name}" for name, count in counts.items()) or "none"
