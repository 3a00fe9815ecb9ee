"""The pair as deployed: instances, ranks and pools of one profile."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from replay.pair.cache import ChunkCache, RadixCache
from replay.pair.clock import Clock
from replay.pair.decode import DecodeInstance
from replay.pair.decode_rank import DecodeRank
from replay.pair.ports import Link, Watcher
from replay.pair.prefill import PrefillInstance
from replay.pair.prefill_rank import PrefillRank
from replay.pair.request import Rank, Request, decode_steps
from replay.pool.arrays import Arrays
from replay.pool.foreign_allocator import AllocatorFactory
from replay.pool.pool import KvPool
from replay.profiles.profile import EngineProfile
from replay.profiles.routing import decode_place, prefill_place
from replay.recording.kinds import LedgerViolations

AnyRank = DecodeRank | PrefillRank

#: Block size for traces without block hashes, so that the number is never zero.
_NO_BLOCKS = 1


@dataclass(frozen=True, slots=True)
class Deployment:
    """All instances of a pair, and the router in front of them."""

    profile: EngineProfile
    clock: Clock
    watcher: Watcher
    prefills: list[PrefillInstance]
    decodes: list[DecodeInstance]

    def ranks(self) -> Iterator[AnyRank]:
        """Every rank, prefill first."""
        for prefill in self.prefills:
            yield from prefill.ranks
        for decode in self.decodes:
            yield from decode.ranks

    def route(self, ordinal: int) -> tuple[PrefillRank, DecodeRank]:
        """The ranks that serve the request arriving as number `ordinal`."""
        prefill, prefill_dp = prefill_place(self.profile, ordinal)
        decode, decode_dp = decode_place(self.profile, ordinal)
        return self.prefills[prefill].ranks[prefill_dp], self.decodes[decode].ranks[decode_dp]

    def wake(self, rank: Rank) -> None:
        """Make the instance of this rank process its queues."""
        instances = self.decodes if isinstance(rank, DecodeRank) else self.prefills
        instances[rank.instance].wake()

    def cancel(self, request: Request) -> None:
        """Deliver a client's abort; the router notifies both sides."""
        self.watcher.client_left(request)
        if not request.decode_ended:
            request.decode.abort(request)
            self.wake(request.decode)
        if not request.prefill_ended and self.profile.client_abort_reaches == "both":
            request.prefill.abort(request)
            self.wake(request.prefill)

    def can_ever_fit(self, request: Request) -> bool:
        """Whether empty pools on both sides could hold this request."""
        profile, decode, prefill = self.profile, request.decode.pool, request.prefill.pool
        decoded = decode_steps(request.output_tokens, profile.overlap_schedule)
        headroom = max(profile.reserved_decode_tokens, decoded)
        return (
            decode.pages_for(request.input_tokens + headroom) <= decode.total_pages
            and prefill.pages_for(request.input_tokens) <= prefill.total_pages
        )

    def pool_sizes(self) -> list[tuple[str, int]]:
        """Every pool's name and its total tokens."""
        return [(rank.name, rank.pool.total_pages * rank.pool.page_size) for rank in self.ranks()]

    def ledger_violations(self) -> LedgerViolations:
        """Ownership violations, which no correct engine has, summed over all pools."""
        found = [rank.pool.ledger.violations() for rank in self.ranks()]
        slots = sum(
            rank.memory.metadata_slots.written_by_another
            for decode in self.decodes
            for rank in decode.ranks
        )
        return sum(found[1:], start=dataclasses.replace(found[0], slots_written_by_another=slots))

    def free_pools(self) -> None:
        """Free the pools' memory at once, because the reference cycles of schedulers and link may stay
        uncollected for long.
        """
        for rank in self.ranks():
            rank.pool.free_arrays()


def build_deployment(
    profile: EngineProfile,
    block_size: int | None,
    clock: Clock,
    link: Link,
    watcher: Watcher,
    arrays: Arrays,
    every_step: bool,
    make_allocator: AllocatorFactory | None = None,
) -> Deployment:
    """Create every instance, rank and pool of a profile on one device.

    `make_allocator` creates the free list of every pool, in place of the engine's.
    """
    blocks = block_size or _NO_BLOCKS

    def pool(name: str, total_tokens: int) -> KvPool:
        return KvPool(
            name,
            total_tokens,
            profile.page_size,
            profile.kv_words_per_page,
            arrays,
            profile.allocator_sorts_pages,
            make_allocator,
        )

    prefills, decodes = [], []
    for number in range(profile.prefill_instances):
        prefill = PrefillInstance(profile, clock, watcher)
        for dp_rank in range(profile.prefill_dp):
            name = f"prefill{number}/dp{dp_rank}"
            memory = pool(name, profile.prefill_total_tokens)
            cache = _create_cache(profile, memory, blocks)
            prefill.add_rank(
                PrefillRank(name, number, dp_rank, profile, memory, cache, blocks, link, watcher)
            )
        prefills.append(prefill)
    for number in range(profile.decode_instances):
        decode = DecodeInstance(profile, clock, watcher)
        for dp_rank in range(profile.decode_dp):
            name = f"decode{number}/dp{dp_rank}"
            memory = pool(name, profile.total_tokens)
            decode.add_rank(
                DecodeRank(name, number, dp_rank, profile, memory, link, watcher, every_step)
            )
        decodes.append(decode)
    return Deployment(profile, clock, watcher, prefills, decodes)


def _create_cache(profile: EngineProfile, pool: KvPool, block_size: int) -> RadixCache | ChunkCache:
    if profile.prefill_cache == "chunk":
        return ChunkCache()
    return RadixCache(pool, math.lcm(block_size, profile.page_size) // profile.page_size)
