"""What to keep of a trace, as a value; imports the standard library only, so that bad options are refused at once."""

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
    """Which requests of a trace to keep; the defaults keep the trace unchanged.

    Attributes:
        from_us: keep arrivals from this time on, microseconds.
        until_us: keep arrivals before this time, microseconds, or None for no end.
        sessions: keep only requests of these sessions, or None for all.
        sample_share: share of the sessions to keep, 0 < share <= 1, or None for all. A session is
            kept whole or not at all; a request without a session counts as one of its own.
        sample_seed: 0 to 2**64 - 1. With the same seed, a smaller sample is a subset of a larger one.
        requests_max: number of requests to keep after the filters above, or None for all.
        speed: arrivals are divided by it, 1/1000000 to 1000000 with at most six decimals. The
            patience of a client, `cancel_us - arrival_us`, stays the same, because it does not depend
            on the rate of arrivals.
        keep_times: keep the original times instead of making `from_us` time 0.
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
        """Raise `TraceError` for invalid options."""
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
        """Return a short description for the source note."""
        words = [self.time_words(), self.session_words(), self.sample_words()]
        if self.requests_max is not None:
            words.append(f"head {self.requests_max}")
        if self.speed != 1:
            words.append(f"speed {float(self.speed)}")
        if self.keep_times and self.from_us:
            words.append("times kept")
        return "slice " + (", ".join(filter(None, words)) or "of everything")

    def time_words(self) -> str:
        """Return the time range in words, or an empty string."""
        start = f"from {self.from_us / 1e6} s" if self.from_us else ""
        end = f"until {self.until_us / 1e6} s" if self.until_us is not None else ""
        return f"{start} {end}".strip()

    def session_words(self) -> str:
        """Return the number of chosen sessions in words (a list could be long), or an empty string."""
        if self.sessions is None:
            return ""
        return f"{len(self.sessions)} session{'' if len(self.sessions) == 1 else 's'}"

    def sample_words(self) -> str:
        """Return the sample in words, or an empty string."""
        if self.sample_share is None:
            return ""
        return f"sample {self.sample_share} seed {self.sample_seed}"
