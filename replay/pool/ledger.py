"""The owner of each page of a pool, as a second opinion on the allocator's counts.

States of a page; every arrow is one method, which checks the state that the arrow starts from:

              acquire(owner)                 hand_over(owner -> CACHE)
      FREE -----------------> owner >= 2 ------------------------------> CACHE
       ^                        |                                          |
       |     release(owner)     |                     release(CACHE)       |
       +------------------------+------------------------------------------+

A failed check is counted on the device and does not stop the replay, because a real engine does not
notice it either. The counters are read at audits (`violations`), not on the hot path.
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
        """Record that pages (int64 [n], just allocated) now belong to `owner`."""
        held_by = self._arrays.gather(self._owner, pages)
        self._acquired_while_owned.add(self._arrays.count_nonzero(held_by))
        self._arrays.fill(self._owner, pages, owner)

    def acquire_many(self, pages: Array, owners: Array) -> None:
        """Record that each page (int64 [n]) now belongs to the corresponding owner (int32 [n])."""
        held_by = self._arrays.gather(self._owner, pages)
        self._acquired_while_owned.add(self._arrays.count_nonzero(held_by))
        self._arrays.put(self._owner, pages, owners)

    def note_repeated(self, count: int) -> None:
        """Record that `count` pages occurred twice in one allocation, which `acquire` cannot see."""
        self._acquired_while_owned.add(
            self._arrays.count_nonzero(self._arrays.arange(1, count + 1))
        )

    def hand_over(self, pages: Array, owner: int, new_owner: int) -> None:
        """Record that pages pass from `owner` to another owner, `FREE` if they are released."""
        held_by = self._arrays.gather(self._owner, pages)
        self._released_by_another.add(self._arrays.count_nonzero(held_by != owner))
        self._arrays.fill(self._owner, pages, new_owner)

    def release(self, pages: Array, owner: int) -> None:
        """Record that `owner` releases pages to the free list."""
        self.hand_over(pages, owner, FREE)

    def note_write(self, pages: Array, owner: int) -> None:
        """Record a transfer that writes pages (int64 [n]) for `owner`, which should own them."""
        held_by = self._arrays.gather(self._owner, pages)
        self._written_by_another.add(self._arrays.count_nonzero(held_by != owner))

    def note_read(self, pages: Array, owner: int) -> None:
        """Record a transfer that reads pages for `owner`; it or the cache should own them."""
        held_by = self._arrays.gather(self._owner, pages)
        # The second factor is zero for CACHE only.
        strangers = (held_by != owner) * (held_by != CACHE)
        self._read_by_another.add(self._arrays.count_nonzero(strangers))

    def owners(self, pages: Array) -> Array:
        """Return the owner of each of these pages, int32 [n]."""
        return self._arrays.gather(self._owner, pages)

    def copy_owners(self, buffer: Array | None) -> Array:
        """Return a copy of all owners, int32 [total_pages + 1]; O(pool), into `buffer` if given."""
        if buffer is None:
            buffer = self._arrays.empty((len(self._owner),), torch.int32)
        buffer[:] = self._owner
        return buffer

    def count_held(self, pages: Array, owner: int) -> int:
        """Return how many of these pages `owner` holds. Waits for the device: audits only."""
        return int((self._arrays.gather(self._owner, pages) == owner).sum())

    def count_by_owner(self) -> dict[int, int]:
        """Return the pages held by each owner code except FREE. O(pool), waits for the device."""
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
