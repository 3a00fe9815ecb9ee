"""Memory of the pools of a profile, and the error message if there is too little.

The first three parts of a pool are allocated completely when it is created:

    contents      8 bytes x words of a page x (pages + 1)
    writers       8 bytes x (pages + 1)      the writer of each page
    ledger        4 bytes x (pages + 1)      its owner
    block table   8 bytes x 32 x 256         grows with the requests held and with the longest one
    free list     almost nothing             grows with the pages released

On a CPU, the system provides the memory only as it is written; a CUDA device provides it at once.
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

#: Share of memory reserved for the device itself, for growing tables and for copies in progress.
MARGIN = 0.1
#: Length of the request for which block tables are estimated, in tokens.
LONGEST_REQUEST = 131_072

_TABLE_ROWS, _TABLE_COLUMNS = 32, 256
#: Beyond this size, NumPy and torch fail before they request memory.
_ABSURD_BYTES = 1 << 60
#: Maximum bytes per page of each order of free pages (`replay.pool.free_lists`), including temporary
#: memory while it grows or merges: int32 pieces, two of them in use and one spare; an int64 stack that is
#: copied when it doubles; pieces, the list, and the temporary arrays of a sort of both.
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
    #: Maximum, after many and long requests have been held.
    block_table_grown_bytes: int
    free_list_grown_bytes: int

    @property
    def pool_bytes(self) -> int:
        """Bytes of one new pool."""
        return self.contents_bytes + self.writers_bytes + self.ledger_bytes + self.block_table_bytes

    @property
    def all_bytes(self) -> int:
        """Bytes of all new pools of this side."""
        return self.pools * self.pool_bytes


def footprints(profile: EngineProfile) -> tuple[PoolFootprint, PoolFootprint]:
    """Return the footprint of the prefill and of the decode side of a profile."""
    prefills = profile.prefill_instances * profile.prefill_dp
    decodes = profile.decode_instances * profile.decode_dp
    return (
        _footprint(profile, "prefill", prefills, profile.prefill_total_tokens),
        _footprint(profile, "decode", decodes, profile.total_tokens),
    )


def total_bytes(profile: EngineProfile) -> int:
    """Return the bytes of all new pools of a profile."""
    return sum(side.all_bytes for side in footprints(profile))


def memory_of(device: torch.device) -> tuple[int, int]:
    """Return the total memory of a device in bytes, and the memory that is free for pools."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # Memory that torch has kept from released pools can be reused.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return total, free + kept
    return _host_memory()


@contextmanager
def enough_memory(profile: EngineProfile, device: torch.device) -> Iterator[None]:
    """Convert an out-of-memory error in the block to a message that says how to proceed.

    Raises:
        DeviceError: the device has too little memory for the pools or their growth.
    """
    if device.type == "cuda":
        # The pools of an earlier replay are in reference cycles, which a replay does not collect.
        gc.collect()
    needed, (_, free) = total_bytes(profile), memory_of(device)
    too_little = DeviceError(
        f"device {device}: out of memory; the pools of profile {profile.name} need "
        f"{show_bytes(needed)} to start with, {show_bytes(free)} were free; reduce total_tokens, "
        "prefill_total_tokens or kv_bytes_per_token with --set (kvreplay doctor shows what fits)"
    )
    if needed > _ABSURD_BYTES:
        raise too_little
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise too_little from None


def show_bytes(count: int) -> str:
    """Format a size in powers of 1000: "987 B", "1.48 GB"."""
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
        # One and a half times, because a table is copied when it doubles.
        block_table_grown_bytes=8 * grown * 3 // 2,
        free_list_grown_bytes=free_list * pages,
    )


def _doubled(start: int, needed: int) -> int:
    while start < needed:
        start *= 2
    return start


def _host_memory() -> tuple[int, int]:
    """Return the total and free bytes of this machine, or of the container of this process."""
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
