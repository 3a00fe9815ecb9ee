"""First-token buffers: small slots that the last chunk of a transfer fills on the decode side.

    free --take--> open (empty) --bytes of a transfer land--> stamped with their attempt --free-->

A slot that is freed while a transfer may still write to it later has the stamp of another request.
Source: sglang 0.4.6.post4 `disaggregation/utils.py` (ReqToMetadataIdxAllocator, first in first out)
and 0.5.23 `disaggregation/utils.py` (MetadataBuffers with the room of the writer).
"""

from __future__ import annotations

from collections import deque

#: A slot that was not written since it was taken.
EMPTY = 0


class MetadataSlots:
    """The slots of one rank, handed out first in, first out."""

    def __init__(self, count: int) -> None:
        self._free: deque[int] = deque()
        #: Slots never used so far are a counter: a rank has thousands and uses few.
        self._fresh = 0
        self._count = count
        self._stamps: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        #: Writes to a slot that another attempt, or none, owned.
        self.written_by_another = 0

    @property
    def free_count(self) -> int:
        """Slots that can be taken."""
        return self._count - self._fresh + len(self._free)

    def take(self, owner: int) -> int:
        """Take an empty slot for an attempt; the caller has checked that there is one."""
        if self._fresh < self._count:
            slot = self._fresh
            self._fresh += 1
        else:
            slot = self._free.popleft()
        self._stamps[slot] = EMPTY
        self._owners[slot] = owner
        return slot

    def free(self, slot: int) -> None:
        """Free a slot."""
        self._free.append(slot)
        self._stamps.pop(slot, None)
        self._owners.pop(slot, None)

    def write(self, slot: int, stamp: int) -> None:
        """Write the bytes of an attempt to a slot, whatever its current owner."""
        self.written_by_another += self._owners.get(slot) != stamp
        self._stamps[slot] = stamp

    def stamp(self, slot: int) -> int:
        """Return the attempt whose bytes are in a slot, `EMPTY` if it was not written."""
        return self._stamps.get(slot, EMPTY)
