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

import numpy as np
import torch

from replay.pool.arrays import Array, Arrays
from replay.pool.device_counter import DeviceCounter
from replay.recording.kinds import LedgerViolations
from replay.recording.owner_codes import CACHE, FREE


class PageLedger:
    """Owner of each page: int32 [total_pages + 1] on the pool's device; page 0 is padding."""

    def __init__(self, total_pages: int, arrays: Arrays) -> None:
        self._arrays = arrays
        self._owner = arrays.zeros((total_pages + 1,), torch.int32)
        self._acquired_while_owned = DeviceCounter(arrays)
        self._released_by_another = DeviceCounter(arrays)
        self._written_by_another = DeviceCounter(arrays)
        self._read_by_another = DeviceCounter(arrays)

    def acquire(self, pages: Array, owner: int) -> None:
        """Note that pages (int64 [n], straight from the free list) now belong to `owner`."""
        held_by = self._arrays.gather(self._owner, pages)
        self._acquired_while_owned.add(self._arrays.count_nonzero(held_by))
        self._arrays.fill(self._owner, pages, owner)

    def acquire_many(self, pages: Array, owners: Array) -> None:
        """Note that each page (int64 [n]) now belongs to the owner beside it (int32 [n])."""
        held_by = self._arrays.gather(self._owner, pages)
        self._acquired_while_owned.add(self._arrays.count_nonzero(held_by))
        self._arrays.put(self._owner, pages, owners)

    def note_repeated(self, count: int) -> None:
        """Note that so many pages came twice in one allocation, which `acquire` cannot see."""
        self._acquired_while_owned.add(
            self._arrays.count_nonzero(self._arrays.arange(1, count + 1))
        )

    def hand_over(self, pages: Array, owner: int, new_owner: int) -> None:
        """Note that pages pass from `owner` to another, FREE when they are released."""
        held_by = self._arrays.gather(self._owner, pages)
        self._released_by_another.add(self._arrays.count_nonzero(held_by != owner))
        self._arrays.fill(self._owner, pages, new_owner)

    def release(self, pages: Array, owner: int) -> None:
        """Note that `owner` gives pages back to the free list."""
        self.hand_over(pages, owner, FREE)

    def note_write(self, pages: Array, owner: int) -> None:
        """A transfer for `owner` writes these pages (int64 [n]): they should be its own."""
        held_by = self._arrays.gather(self._owner, pages)
        self._written_by_another.add(self._arrays.count_nonzero(held_by != owner))

    def note_read(self, pages: Array, owner: int) -> None:
        """A transfer for `owner` reads these pages: they should be its own or the cache's."""
        held_by = self._arrays.gather(self._owner, pages)
        # CACHE and no other code makes the second factor zero.
        strangers = (held_by != owner) * (held_by != CACHE)
        self._read_by_another.add(self._arrays.count_nonzero(strangers))

    def owners(self, pages: Array) -> Array:
        """Who owns each of these pages, int32 [n]."""
        return self._arrays.gather(self._owner, pages)

    def copy_owners(self, buffer: Array | None) -> Array:
        """A copy of who owns every page, int32 [total_pages + 1]; O(pool), into `buffer` if given."""
        if buffer is None:
            buffer = self._arrays.empty((len(self._owner),), torch.int32)
        buffer[:] = self._owner
        return buffer

    def count_held(self, pages: Array, owner: int) -> int:
        """How many of these pages `owner` holds. Waits for the device: audits only."""
        return int((self._arrays.gather(self._owner, pages) == owner).sum())

    def count_by_owner(self) -> dict[int, int]:
        """Pages held by each owner code but FREE. O(pool) and waits for the device."""
        owned = self._owner[self._owner != FREE]
        codes, counts = np.unique(torch.as_tensor(owned).cpu().numpy(), return_counts=True)
        return dict(zip(codes.tolist(), counts.tolist(), strict=True))

    def violations(self) -> LedgerViolations:
        """Read the counters. Waits for the device: audits only."""
        return LedgerViolations(
            acquired_while_owned=self._acquired_while_owned.read(),
            released_by_another=self._released_by_another.read(),
            written_by_another=self._written_by_another.read(),
            read_by_another=self._read_by_another.read(),
        )
