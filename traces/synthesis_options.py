"""Options of a synthetic trace: plain data with defaults; imports only the standard library."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from traces.errors import TraceError

#: Arrival processes: `poisson`, or `bursty` (two rates that alternate at random).
ARRIVALS = ("poisson", "bursty")

#: Length distributions: `lognormal`, or `mixture` (some of the prompts much longer).
LENGTHS = ("lognormal", "mixture")

_TIME_US_MAX = 2**53

# With fewer arrivals in a cycle of calm and burst, most bursts contain no arrival at all.
_CYCLE_ARRIVALS_MIN = 0.1


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """All inputs of a synthetic trace; equal options give equal bytes.

    The defaults produce multi-turn chat of a few tenants. A prompt consists of the tenant's system
    prompt, the earlier turns of the session (prompts and answers) and the new tokens of the turn.

    Attributes:
        requests: number of requests, at least 1.
        seed: any integer >= 0; the source of all randomness.
        rate_per_s: mean arrivals per second.
        arrivals: one of `ARRIVALS`. Bursty: a burst lasts `burst_s_mean` seconds on average, bursts
            take up `burst_share` of the time, and their rate is `burst_factor` times the rate of the
            calm; the mean over both is `rate_per_s`.
        lengths: one of `LENGTHS`, for the new tokens of a turn and for its answer. Lognormal:
            medians `prompt_tokens_median` and `output_tokens_median`, spread `tokens_sigma`
            (standard deviation of the logarithm). Mixture: the same, but `long_share` of the
            turns have `long_factor` times as many new tokens (documents among chats).
        system_tokens_median: median length of a tenant's system prompt, same spread; 0 for none.
        input_tokens_max: longest prompt; a session whose next prompt would be longer ends.
        output_tokens_max: longest answer.
        tenants: number of tenants; the i-th gets a share proportional to i ** -tenant_skew.
        turns_mean: mean turns of a session (1: no session has a second turn).
        think_s_min: minimum seconds between two turns of a session.
        open_sessions_max: sessions of one tenant that can continue; bounds memory.
        abort_rate: share of requests whose client aborts.
        abort_s_mean: mean of the exponential delay from arrival to abort.
        block_size: tokens a block hash covers.
    """

    requests: int = 10_000
    seed: int = 0
    rate_per_s: float = 4.0
    arrivals: str = "poisson"
    burst_factor: float = 8.0
    burst_share: float = 0.1
    burst_s_mean: float = 5.0
    lengths: str = "lognormal"
    prompt_tokens_median: int = 512
    output_tokens_median: int = 192
    tokens_sigma: float = 0.9
    long_share: float = 0.15
    long_factor: float = 16.0
    system_tokens_median: int = 1024
    input_tokens_max: int = 131_072
    output_tokens_max: int = 8192
    tenants: int = 8
    tenant_skew: float = 1.0
    turns_mean: float = 3.0
    think_s_min: float = 5.0
    open_sessions_max: int = 256
    abort_rate: float = 0.0
    abort_s_mean: float = 10.0
    block_size: int = 512

    def __post_init__(self) -> None:
        """Raise `TraceError` for invalid options, with the option and its range."""
        for name, choices in (("arrivals", ARRIVALS), ("lengths", LENGTHS)):
            if getattr(self, name) not in choices:
                self._refuse(name, f"one of {', '.join(choices)}")
        for name in ("requests", "input_tokens_max", "output_tokens_max", "open_sessions_max"):
            self._require_between(name, 1, 2**31 - 1)
        for name in ("prompt_tokens_median", "output_tokens_median", "block_size"):
            self._require_between(name, 1, 2**31 - 1)
        self._require_between("tenants", 1, 100_000)
        self._require_between("system_tokens_median", 0, self.input_tokens_max)
        self._require_between("seed", 0, 2**128 - 1)
        self._require_between("burst_share", 1e-4, 1.0 - 1e-4)
        for name in ("long_share", "abort_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                self._refuse(name, "a number between 0 and 1")
        for name in ("tokens_sigma", "tenant_skew"):
            self._require_between(name, 0.0, 10.0)
        self._require_between("burst_factor", 1.0, 1e3)
        for name in ("long_factor", "turns_mean"):
            self._require_between(name, 1.0, 1e6)
        for name in ("rate_per_s", "burst_s_mean"):
            self._require_between(name, 1e-6, 1e6)
        for name in ("think_s_min", "abort_s_mean"):
            self._require_between(name, 0.0, 1e6)
        if self.requests / self.rate_per_s * 1e6 > _TIME_US_MAX / 4:
            raise TraceError(
                f"synthesis: {self.requests} requests at {self.rate_per_s} per second take too "
                "long for microseconds; raise rate_per_s"
            )

        if self.arrivals == "bursty" and self.cycle_s_mean * self.rate_per_s < _CYCLE_ARRIVALS_MIN:
            raise TraceError(
                f"synthesis: at {self.rate_per_s} arrivals per second, bursts of "
                f"{self.burst_s_mean} s would contain no arrivals; raise burst_s_mean or rate_per_s"
            )

    @property
    def cycle_s_mean(self) -> float:
        """Mean seconds from the start of a burst to the start of the next."""
        return self.burst_s_mean / self.burst_share

    def describe(self) -> str:
        """Return a one-line source note: the seed, the size and all options that differ from the defaults."""
        always = {"requests", "seed"}
        shown = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if field.name in always or getattr(self, field.name) != field.default
        ]
        return f"kvreplay synthesis {' '.join(shown)}"

    def _require_between(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not (math.isfinite(value) and low <= value <= high):
            self._refuse(name, f"between {low:.15g} and {high:.15g}")

    def _refuse(self, name: str, wanted: str) -> None:
        raise TraceError(f"synthesis: {name} is {getattr(self, name)!r}; it must be {wanted}")
