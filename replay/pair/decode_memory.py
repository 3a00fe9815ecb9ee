"""Pages, rows and slots of one decode rank, which a request needs to be admitted."""

from __future__ import annotations

from replay.pair.metadata_slots import MetadataSlots
from replay.pair.request import Request
from replay.pool.arrays import Array
from replay.pool.pool import KvPool
from replay.profiles.profile import EngineProfile


class DecodeMemory:
    """Allocates and releases all resources of a decode request together."""

    def __init__(self, profile: EngineProfile, pool: KvPool) -> None:
        self.free_request_slots = profile.request_slots
        self.metadata_slots = MetadataSlots(profile.metadata_slots)
        self._reserve_each = profile.reserved_decode_tokens
        self._pool = pool

    @property
    def free_resources(self) -> int:
        """A number that grows whenever a resource needed for admission is released."""
        free_slots = self.free_request_slots + self.metadata_slots.free_count
        return self._pool.allocator.available_pages + free_slots

    def fits(self, tokens: int, own_reserve: int, admitted: int) -> bool:
        """Whether tokens fit in addition to the reserve of all admitted requests (pop_preallocated)."""
        reserve = self._reserve_each * admitted + own_reserve
        return tokens + reserve <= self._pool.available_pages * self._pool.page_size

    def take(self, request: Request) -> Array:
        """Allocate pages for the initial tokens of a request, a row for them and a slot."""
        pages = self._pool.extend(request.ordinal, 0, request.kv_tokens)
        assert pages is not None, "admission leaves room for what it admits"
        request.decode_row = self._pool.table.open_row()
        self._pool.table.write(request.decode_row, 0, pages)
        self.free_request_slots -= 1
        return pages

    def release(self, requests: list[Request]) -> None:
        """Free the pages of live requests together, and their rows and slots."""
        group = []
        for request in requests:
            count = self._pool.pages_for(request.kv_tokens)
            group.append((request.ordinal, self._pool.table.read(request.decode_row, 0, count)))
            self._pool.account.live_pages -= count
        self._pool.release_group(group)
        for request in requests:
            self._pool.table.close_row(request.decode_row)
            request.decode_row = -1
            self.free_request_slots += 1
