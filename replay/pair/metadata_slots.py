"""First-token buffers: small slots that the last chunk of a transfer fills on the decode side.

    free --take--> open (empty) --bytes of a transfer land--> stamped with their attempt --free-->

A slot that is given back while a transfer may still write it bears the stamp of a stranger
afterwards. Source: sglang 0.4.6.post4 `disaggregation/utils.py` (ReqToMetadataIdxAllocator, first
in first out) and 0.5.23 `disaggregation/utils.py` (MetadataBuffers with the room of the writer).
"""

from __future__ import annotations

from collections import deque

#: A slot that nobody has written since it was taken.
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
        #: Writes that found a slot in other hands, or in none.
        self.written_by_another = 0

    @property
    def free_count(self) -> int:
        """Slots that can be taken."""
        return self._count - self._fresh + len(self._free)

    def take(self, owner: int) -> int:
        """Take an empty slot for an attempt; the caller has seen that there is one."""
        if self._fresh < self._count:
            slot = self._fresh
            self._fresh += 1
        else:
            slot = self._free.popleft()
        self._stamps[slot] = EMPTY
        self._owners[slot] = owner
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back."""
        self._free.append(slot)
        self._stamps.pop(slot, None)
        self._owners.pop(slot, None)

    def write(self, slot: int, stamp: int) -> None:
        """The bytes of an attempt land in a slot, whoever has it now."""
        self.written_by_another += self._owners.get(slot) != stamp
        self._stamps[slot] = stamp

    def stamp(self, slot: int) -> int:
        """Whose bytes a slot holds, `EMPTY` when nobody has written it."""
        return self._stamps.get(slot, EMPTY)
