"""What to keep of a trace: plain data with defaults, importing the standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from traces.errors import TraceError

#: A speed is a decimal number from 1 / SPEED_STEPS to SPEED_STEPS with a denominator up to that.
SPEED_STEPS = 1_000_000

_TIME_US_MAX = 2**62
_SEED_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class SliceOptions:
    """What to keep of a trace; the defaults keep all of it as it is.

    Attributes:
        from_us: arrivals from here on, microseconds.
        until_us: arrivals before this, microseconds, or None for no end.
        sessions: requests of these sessions only, or None for all.
        sample_share: share of the sessions to keep, 0 < share <= 1, or None for all. A session is
            kept whole or not at all; a request without a session counts as one of its own.
        sample_seed: 0 to 2**64 - 1. With one seed a smaller share is a subset of a larger one.
        requests_max: the first so many of what the filters above leave, or None for all.
        speed: arrivals are divided by it, 1/1000000 to 1000000 with at most six decimals. A
            client's patience, `cancel_us - arrival_us`, stays: this scales the rate of arrivals,
            and how long somebody waits for an answer does not depend on how many others ask.
        keep_times: keep the clock of the original instead of making `from_us` time 0.
    """

    from_us: int = 0
    until_us: int | None = None
    sessions: frozenset[str] | None = None
    sample_share: float | None = None
    sample_seed: int = 0
    requests_max: int | None = None
    speed: Fraction = Fraction(1)
    keep_times: bool = False

    def __post_init__(self) -> None:
        """Raise `TraceError` for options that mean nothing."""
        until_us = _TIME_US_MAX if self.until_us is None else self.until_us
        if not 0 <= self.from_us < until_us <= _TIME_US_MAX:
            raise TraceError(
                f"slice: the time range from {self.from_us / 1e6} s until {until_us / 1e6} s is "
                "empty or out of range; choose 0 <= from < until"
            )
        if self.sample_share is not None and not 0 < self.sample_share <= 1:
            raise TraceError(
                f"slice: the sample is {self.sample_share}; it must be a number between 0 and 1, a "
                "share above 0"
            )
        if not 0 <= self.sample_seed <= _SEED_MAX:
            raise TraceError(f"slice: the seed is {self.sample_seed}; choose 0 to {_SEED_MAX}")
        if self.requests_max is not None and self.requests_max < 1:
            raise TraceError(f"slice: head is {self.requests_max}; keep at least 1 request")
        is_in_range = Fraction(1, SPEED_STEPS) <= self.speed <= SPEED_STEPS
        if not is_in_range or self.speed.denominator > SPEED_STEPS:
            raise TraceError(
                f"slice: the speed is {self.speed}; choose 0.000001 to {SPEED_STEPS} with at most "
                "six decimals"
            )

    def describe(self) -> str:
        """Say in a few words what is done, for the source note."""
        words = [self.time_words(), self.session_words(), self.sample_words()]
        if self.requests_max is not None:
            words.append(f"head {self.requests_max}")
        if self.speed != 1:
            words.append(f"speed {float(self.speed)}")
        if self.keep_times and self.from_us:
            words.append("times kept")
        return "slice " + (", ".join(filter(None, words)) or "of everything")

    def time_words(self) -> str:
        """Name the time range, or nothing."""
        start = f"from {self.from_us / 1e6} s" if self.from_us else ""
        end = f"until {self.until_us / 1e6} s" if self.until_us is not None else ""
        return f"{start} {end}".strip()

    def session_words(self) -> str:
        """Name the choice of sessions (how many: a list could be long), or nothing."""
        if self.sessions is None:
            return ""
        return f"{len(self.sessions)} session{'' if len(self.sessions) == 1 else 's'}"

    def sample_words(self) -> str:
        """Name the sample, or nothing."""
        if self.sample_share is None:
            return ""
        return f"sample {self.sample_share} seed {self.sample_seed}"
