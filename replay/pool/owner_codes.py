"""What a ledger calls owners and counts against them: plain numbers, for readers without torch."""

from __future__ import annotations

from dataclasses import astuple, dataclass

#: Owner codes that are not requests. Request number n owns pages under the code n + FIRST_OWNER.
FREE = 0
CACHE = 1
FIRST_OWNER = 2


@dataclass(frozen=True, slots=True)
class LedgerViolations:
    """How many pages were handled in a way that no correct engine would let them."""

    acquired_while_owned: int
    released_by_another: int
    #: A transfer wrote into pages, or read out of pages, that were not its request's any more.
    written_by_another: int = 0
    read_by_another: int = 0
    #: First-token buffers that a transfer wrote after they had been given back.
    slots_written_by_another: int = 0

    @property
    def total(self) -> int:
        """All violations together, in pages."""
        return sum(astuple(self))

    def __add__(self, other: LedgerViolations) -> LedgerViolations:
        """The violations of two pools."""
        return LedgerViolations(
            *(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        )
