"""How much memory the pools of a profile take, and the one sentence for when there is too little.

Of a pool's parts three are allocated whole when it is made:

    contents      8 bytes x words of a page x (pages + 1)
    writers       8 bytes x (pages + 1)      who brought each page
    ledger        4 bytes x (pages + 1)      who owns it
    block table   8 bytes x 32 x 256         grows with the requests held and with the longest one
    free list     next to nothing            grows with the pages given back

On a CPU the system gives out their memory only as it is written; a CUDA device does so at once.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from replay.errors import DeviceError
from replay.profiles.profile import EngineProfile

#: What is kept for the device's own needs, for what grows, and for copies under way.
MARGIN = 0.1
#: The request that block tables are reckoned with, in tokens.
LONGEST_REQUEST = 131_072

_TABLE_ROWS, _TABLE_COLUMNS = 32, 256
#: Beyond it NumPy and torch refuse a size before they ask for memory.
_ABSURD_BYTES = 1 << 60
#: Bytes a page at most, in each order of free pages (`replay.pool.free_lists`) with its own needs
#: while it grows or merges: int32 pieces, two of them begun and one spare; an int64 stack that is
#: copied when it doubles; pieces, the list, and all that a sort of both has in hand.
_FIFO_BYTES, _STACK_BYTES, _SORTED_BYTES = 12, 24, 52


@dataclass(frozen=True, slots=True)
class PoolFootprint:
    """Memory of each pool of one side, in bytes."""

    side: str
    pools: int
    tokens: int
    pages: int
    contents_bytes: int
    writers_bytes: int
    ledger_bytes: int
    block_table_bytes: int
    #: At most, once many and long requests have been held.
    block_table_grown_bytes: int
    free_list_grown_bytes: int

    @property
    def pool_bytes(self) -> int:
        """One pool when it is made."""
        return self.contents_bytes + self.writers_bytes + self.ledger_bytes + self.block_table_bytes

    @property
    def all_bytes(self) -> int:
        """All pools of this side when they are made."""
        return self.pools * self.pool_bytes


def footprints(profile: EngineProfile) -> tuple[PoolFootprint, PoolFootprint]:
    """The pools of the prefill and of the decode side of a profile."""
    prefills = profile.prefill_instances * profile.prefill_dp
    decodes = profile.decode_instances * profile.decode_dp
    return (
        _footprint(profile, "prefill", prefills, profile.prefill_total_tokens),
        _footprint(profile, "decode", decodes, profile.total_tokens),
    )


def total_bytes(profile: EngineProfile) -> int:
    """All pools of a profile when they are made."""
    return sum(side.all_bytes for side in footprints(profile))


def memory_of(device: torch.device) -> tuple[int, int]:
    """Bytes of memory that a device has, and that are free for pools now."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # What torch has kept of pools that are gone can be used again.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return total, free + kept
    return _host_memory()


@contextmanager
def enough_memory(profile: EngineProfile, device: torch.device) -> Iterator[None]:
    """Turn running out of memory in the block into one sentence that says how to go on.

    Raises:
        DeviceError: the device has too little memory for the pools, or for what they grew to.
    """
    if device.type == "cuda":
        # The pools of an earlier replay hang together in cycles, and a replay collects none.
        gc.collect()
    needed, (_, free) = total_bytes(profile), memory_of(device)
    too_little = DeviceError(
        f"device {device}: out of memory; the pools of profile {profile.name} need "
        f"{show_bytes(needed)} to start with, {show_bytes(free)} were free; make total_tokens, "
        "prefill_total_tokens or kv_bytes_per_token smaller with --set (kvreplay doctor says what "
        "fits)"
    )
    if needed > _ABSURD_BYTES:
        raise too_little
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise too_little from None


def show_bytes(count: int) -> str:
    """A size as a person reads it, in powers of 1000: "987 B", "1.48 GB"."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.3g} {unit}"


def _footprint(profile: EngineProfile, side: str, pools: int, tokens: int) -> PoolFootprint:
    pages = tokens // profile.page_size
    longest = min(pages, -(-LONGEST_REQUEST // profile.page_size))
    grown = _doubled(_TABLE_ROWS, profile.request_slots) * _doubled(_TABLE_COLUMNS, longest)
    if profile.allocator_sorts_pages:
        free_list = _SORTED_BYTES
    else:
        free_list = _FIFO_BYTES if profile.page_size == 1 else _STACK_BYTES
    return PoolFootprint(
        side=side,
        pools=pools,
        tokens=tokens,
        pages=pages,
        contents_bytes=8 * profile.kv_words_per_page * (pages + 1),
        writers_bytes=8 * (pages + 1),
        ledger_bytes=4 * (pages + 1),
        block_table_bytes=8 * _TABLE_ROWS * _TABLE_COLUMNS,
        # Half as much again, since a table is copied when it doubles.
        block_table_grown_bytes=8 * grown * 3 // 2,
        free_list_grown_bytes=free_list * pages,
    )


def _doubled(start: int, needed: int) -> int:
    while start < needed:
        start *= 2
    return start


def _host_memory() -> tuple[int, int]:
    """Total and free bytes of this machine, or of the container that this process runs in."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = total
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        total = min(total, int(text))
        free = min(free, max(0, int(text) - int(used.read_text())))
    return total, free
