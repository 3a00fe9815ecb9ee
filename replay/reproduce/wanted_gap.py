"""The gap that a reproduction is to make, and what one consists of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from faults.rule import FaultPlan
from replay.errors import NoSuchGapError
from replay.profiles.profile import NUMBER_MAX, EngineProfile
from replay.recording.kinds import GAP_PAGES_MAX
from traces.schema import TraceRequest

Persistence = Literal["persistent", "transient"]


@dataclass(frozen=True, slots=True)
class WantedGap:
    """The two numbers, in tokens, and what they should turn out to be."""

    available: int
    total: int
    page_size: int
    persistence: Persistence
    #: Whether the engine's own idle check must fire, inside its own gate.
    by_engine_check: bool = False

    @property
    def gap_tokens(self) -> int:
        """Positive for a leak, negative for an over-free."""
        return self.total - self.available

    @property
    def pages(self) -> int:
        """Whole pages of the gap, without its sign."""
        return abs(self.gap_tokens) // self.page_size

    @property
    def is_over_free(self) -> bool:
        """Whether more is free than there is."""
        return self.gap_tokens < 0

    def check(self) -> None:
        """Make sure that some set of pages can make this gap.

        Raises:
            NoSuchGapError: none can; the message says why.
        """
        if not (0 <= self.available <= NUMBER_MAX and 1 <= self.total <= NUMBER_MAX):
            raise NoSuchGapError(
                f"--available {self.available} --total {self.total}: counts of tokens go from 0 to "
                f"{NUMBER_MAX}"
            )
        if self.gap_tokens == 0:
            raise NoSuchGapError(
                f"--available and --total are both {self.total}: there is no gap to reproduce"
            )
        for name, tokens in (("gap", abs(self.gap_tokens)), ("--total", self.total)):
            if tokens % self.page_size:
                sizes = [size for size in _PAGE_SIZES if not self.gap_tokens % size]
                whole = [str(size) for size in sizes if not self.total % size]
                raise NoSuchGapError(
                    f"{name} {tokens} is not whole pages of {self.page_size} tokens, so no set of "
                    f"requests makes it; page sizes that divide gap and total: {', '.join(whole)}"
                )
        if self.pages > GAP_PAGES_MAX:
            raise NoSuchGapError(f"a gap of {self.pages} pages is more than {GAP_PAGES_MAX}")
        if self.by_engine_check and self.persistence == "transient":
            raise NoSuchGapError(
                "an idle engine finds a gap only when nobody is left to close it; with "
                "--engine-check use --as persistent"
            )
        if self.is_over_free and self.persistence == "transient":
            raise NoSuchGapError(
                "an over-free does not heal: a page that is listed twice stays listed twice; "
                "use --as persistent"
            )


#: Page sizes that engines use.
_PAGE_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


#: Pause before the requests that make the gap, so that the others are done by then.
PAUSE_US = 60_000_000


def without_reserve_where_tight(
    profile: EngineProfile, wanted: WantedGap, admitted: int
) -> EngineProfile:
    """The profile without reserved tokens, where the gap leaves none for so many requests."""
    if wanted.available >= profile.reserved_decode_tokens * admitted:
        return profile
    return dataclasses.replace(profile, reserved_decode_tokens=0)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A trace, a profile and a plan that make a gap."""

    requests: tuple[TraceRequest, ...]
    chosen: tuple[str, ...]
    profile: EngineProfile
    plan: FaultPlan
    heal_budget_us: int
