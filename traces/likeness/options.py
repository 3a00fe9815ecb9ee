"""Options of a trace that resembles another: plain data; imports only the standard library."""

from __future__ import annotations

import math
from dataclasses import dataclass

from traces.errors import TraceError


@dataclass(frozen=True, slots=True)
class LikenessOptions:
    """Size, seed and rate of a new trace; with the same model, equal options give equal bytes.

    Attributes:
        requests: number of requests, at least 1.
        seed: any integer >= 0; the source of all randomness.
        rate_per_s: mean arrivals per second, by scaling all gaps; None for the rate of the source.
    """

    requests: int
    seed: int = 0
    rate_per_s: float | None = None

    def __post_init__(self) -> None:
        """Raise `TraceError` for invalid options."""
        if not 1 <= self.requests < 2**31:
            self._refuse("requests", f"between 1 and {2**31 - 1}")
        if not 0 <= self.seed < 2**128:
            self._refuse("seed", "between 0 and 2**128 - 1")
        rate = self.rate_per_s
        if rate is not None and not (math.isfinite(rate) and 1e-6 <= rate <= 1e6):
            self._refuse("rate_per_s", "between 1e-06 and 1000000")

    def describe(self, source: str) -> str:
        """Return a one-line note about a trace made like `source`."""
        rate = "" if self.rate_per_s is None else f" rate_per_s={self.rate_per_s}"
        return f"kvreplay synthesis like {source} requests={self.requests} seed={self.seed}{rate}"

    def _refuse(self, name: str, wanted: str) -> None:
        raise TraceError(f"synthesis: {name} is {getattr(self, name)!r}; it must be {wanted}")
