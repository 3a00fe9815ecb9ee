"""The pair as deployed: instances, ranks and pools of one profile."""

from __future__ import annotations

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
from replay.pair.request import Request, decode_steps
from replay.pool.arrays import Arrays
from replay.pool.foreign_allocator import AllocatorFactory
from replay.pool.pool import KvPool
from replay.profiles.profile import EngineProfile
from replay.profiles.routing import decode_place, prefill_place
from replay.watch.audit import Rank

#: Block size assumed where a trace has no block hashes, so that the number is never zero.
_NO_BLOCKS = 1


@dataclass(frozen=True, slots=True)
class Deployment:
    """All instances of a pair."""

    profile: EngineProfile
    prefills: list[PrefillInstance]
    decodes: list[DecodeInstance]

    def ranks(self) -> Iterator[Rank]:
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
        """Have the instance of this rank look at its queues."""
        if isinstance(rank, DecodeRank):
            self.decodes[rank.instance].wake()
        else:
            self.prefills[rank.instance].wake()

    def can_ever_fit(self, request: Request) -> bool:
        """Whether empty pools on both sides could hold this request."""
        profile, decode, prefill = self.profile, request.decode.pool, request.prefill.pool
        decoded = decode_steps(request.output_tokens, profile.overlap_schedule)
        headroom = max(profile.reserved_decode_tokens, decoded)
        return (
            decode.pages_for(request.input_tokens + headroom) <= decode.total_pages
            and prefill.pages_for(request.input_tokens) <= prefill.total_pages
        )


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

    `make_allocator` makes every pool's free list where the engine's is not wanted.
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
    return Deployment(profile, prefills, decodes)


def _create_cache(profile: EngineProfile, pool: KvPool, block_size: int) -> RadixCache | ChunkCache:
    if profile.prefill_cache == "chunk":
        return ChunkCache()
    return RadixCache(pool, math.lcm(block_size, profile.page_size) // profile.page_size)
