"""Who owns each page of a pool: the second opinion beside the allocator's counts.

State of one page; every arrow is one method, and each checks where the arrow starts:

              acquire(owner)                 hand_over(owner -> CACHE)
      FREE -----------------> owner >= 2 ------------------------------> CACHE
       ^                        |                                          |
       |     release(owner)     |                     release(CACHE)       |
       +------------------------+------------------------------------------+

A check that fails is counted on the device and never stops the replay: a real engine does not
notice either. The counters are read at audits (`violations`), not on the hot path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

#: Owner codes that are not requests. Request number n owns pages under the code n + FIRST_OWNER.
FREE = 0
CACHE = 1
FIRST_OWNER = 2


@dataclass(frozen=True, slots=True)
class LedgerViolations:
    """How many pages changed hands in a way that no correct engine would let them."""

    acquired_while_owned: int
    released_while_free: int
    released_by_another: int

    @property
    def total(self) -> int:
        """All violations together, in pages."""
        return self.acquired_while_owned + self.released_while_free + self.released_by_another


class PageLedger:
    """Owner of each page: int32 [total_pages + 1] on the pool's device; page 0 is padding."""

    def __init__(self, total_pages: int, device: torch.device) -> None:
        self._owner = torch.zeros(total_pages + 1, dtype=torch.int32, device=device)
        self._double_acquired = torch.zeros((), dtype=torch.int64, device=device)
        self._not_held = torch.zeros((), dtype=torch.int64, device=device)
        self._already_free = torch.zeros((), dtype=torch.int64, device=device)

    def acquire(self, pages: torch.Tensor, owner: int | torch.Tensor) -> None:
        """Note that pages (int64 [n], straight from the free list) now belong to `owner`.

        The owner is one code for all pages, or int64 [n].
        """
        self._double_acquired += torch.count_nonzero(self._owner[pages])
        self._owner[pages] = owner if isinstance(owner, int) else owner.to(torch.int32)

    def hand_over(self, pages: torch.Tensor, owner: int, new_owner: int) -> None:
        """Note that pages pass from one owner to another without being freed."""
        self._not_held += torch.count_nonzero(self._owner[pages] - owner)
        self._owner[pages] = new_owner

    def release(self, pages: torch.Tensor, owner: int) -> None:
        """Note that `owner` gives pages back to the free list."""
        held_by = self._owner[pages]
        self._not_held += torch.count_nonzero(held_by - owner)
        self._already_free += pages.numel() - torch.count_nonzero(held_by)
        self._owner[pages] = FREE

    def count_held(self, pages: torch.Tensor, owner: int) -> int:
        """How many of these pages `owner` holds. Waits for the device: audits only."""
        return int((self._owner[pages] == owner).sum())

    def count_by_owner(self) -> dict[int, int]:
        """Pages held by each owner code but FREE. O(pool) and waits for the device."""
        codes, counts = torch.unique(self._owner[1:], return_counts=True)
        by_owner = dict(zip(codes.tolist(), counts.tolist(), strict=True))
        by_owner.pop(FREE, None)
        return by_owner

    def violations(self) -> LedgerViolations:
        """Read the counters. Waits for the device: audits only."""
        already_free = int(self._already_free)
        return LedgerViolations(
            acquired_while_owned=int(self._double_acquired),
            released_while_free=already_free,
            released_by_another=int(self._not_held) - already_free,
        )
