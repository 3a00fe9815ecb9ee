"""Who writes the lines: the servers of a profile, their DP ranks, and how each process tags its own.

A scheduler process of SGLang tags its lines with the DP rank where there are several, and with its
TP rank where there are several (0.4.6.post4 `managers/scheduler.py`, run_scheduler_process; 0.5.23
`managers/scheduler.py`). TP ranks are numbered over the whole server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from replay.server_lines.log_line import sglang_line

Side = Literal["prefill", "decode"]

#: What the clock of every server shows when virtual time is 0.
EPOCH = datetime(2025, 6, 1)


@dataclass(frozen=True, slots=True)
class LogRank:
    """One DP rank of a server: one pool, one scheduler for each of its TP ranks.

    Attributes:
        pool: as the recording calls it, such as `decode0/dp3`.
        tp_ranks: of its processes; the first of them prints statistics.
        tags: of the same processes, such as ` DP3 TP3`; empty where nothing tells them apart.
        total_tokens: of its pool.
    """

    pool: str
    dp_rank: int
    tp_ranks: tuple[int, ...]
    tags: tuple[str, ...]
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Server:
    """One prefill or decode instance, which has one log.

    Attributes:
        name: such as `decode0`.
    """

    name: str
    side: Side
    ranks: tuple[LogRank, ...]


def servers_of(run: dict[str, Any]) -> list[Server]:
    """The servers of a recording's run.json, prefill first."""
    profile = run["profile"]
    totals = {pool["pool"]: pool["total_tokens"] for pool in run["pools"]}
    servers = []
    sides: tuple[Side, ...] = ("prefill", "decode")
    for side in sides:
        tp, dp = profile[f"{side}_tp"], profile[f"{side}_dp"]
        for number in range(profile[f"{side}_instances"]):
            name = f"{side}{number}"
            ranks = tuple(_rank(name, dp_rank, tp, dp, totals) for dp_rank in range(dp))
            servers.append(Server(name, side, ranks))
    return servers


def _rank(server: str, dp_rank: int, tp: int, dp: int, totals: dict[str, int]) -> LogRank:
    pool, width = f"{server}/dp{dp_rank}", tp // dp
    tp_ranks = tuple(range(dp_rank * width, (dp_rank + 1) * width))
    dp_tag = f" DP{dp_rank}" if dp > 1 else ""
    tags = tuple(dp_tag + (f" TP{each}" if tp > 1 else "") for each in tp_ranks)
    return LogRank(pool, dp_rank, tp_ranks, tags, totals[pool])


def clock(time_us: int) -> datetime:
    """Virtual time as a server's clock shows it."""
    return EPOCH + timedelta(microseconds=time_us)


class WrittenLine(NamedTuple):
    """What one process wrote at once: one line, or several without their last newline."""

    time_us: int
    text: str


def tagged(time_us: int, tag: str, message: str) -> WrittenLine:
    """A line of one of SGLang's processes."""
    return WrittenLine(time_us, sglang_line(clock(time_us), tag, message))
