"""How much a log has to say: lines that tell what a pool holds while nothing is under way.

Counted from the lines themselves, whoever reads them. To see that a pool is broken takes checks of that
pool; to see that nothing is broken takes checks of every pool. So what counts is

    something is broken for good    the broken pool of which the log has the most checks
    nothing is                      the pool of which it has the fewest

Only checks after the faults and their healing count, in the clean cycles: whatever is seen before may
be there for good or for a moment.

A healthy check of SGLang says nothing, and its decode side prints no status while it idles: a log of a
healthy decode server has no quiet check at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from replay.engine_log.servers import LogRank, clock, servers_of

_QUIET = re.compile(
    "|".join(
        (
            "memory leak detected!",
            # The prefill side of SGLang with nothing under way, before a batch takes its pages.
            r"Prefill batch\. .*#running-req: 0, #unbootstrapped-req: 0, #queue-req: 0, "
            "#transferring-req: 0 ",
            "Prefill batch, .*#running-req: 0, #queue-req: 0, .*#bootstrap-req: 0, "
            "#inflight-req: 0,",
            "Running: 0 reqs, Waiting: 0 reqs,",
        )
    )
)
#: Month, day and time, which both families of engines print.
_TIME = re.compile(r"\d\d-\d\d \d\d:\d\d:\d\d")
_WHO = re.compile(r"\d\d:\d\d:\d\d(?P<tag>(?: [A-Z]+\d+)*)\]|Engine (?P<engine>\d+):")


def quiet_lines(run: dict[str, Any], logs: dict[str, Path]) -> int:
    """Quiet checks of any one pool at any time, whatever they are about."""
    return max(
        count
        for server in servers_of(run)
        for count in _of_ranks(logs[server.name], server.ranks, since="").values()
    )


def quiet_checks(broken: Collection[str], run: dict[str, Any], logs: dict[str, Path]) -> int:
    """Quiet checks of the pool that decides; several in one second of one rank are one."""
    counts: dict[str, int] = {}
    healed_us = max(phase["end_us"] for phase in run["phases"] if phase["phase"] == "heal")
    healed = f"{clock(healed_us):%m-%d %H:%M:%S}"
    for server in servers_of(run):
        counts |= _of_ranks(logs[server.name], server.ranks, healed)
    if broken:
        return max(counts[pool] for pool in broken)
    return min(counts.values())


def _of_ranks(log: Path, ranks: tuple[LogRank, ...], since: str) -> dict[str, int]:
    """Pool -> seconds from `since` on in which the first process of its rank told of it.

    A warning without a time and a rank is printed once in a process's life and counts for nobody.
    """
    seconds: dict[str, set[str]] = {}
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            if _QUIET.search(line):
                who, time = _WHO.search(line), _TIME.search(line)
                if who is not None and time is not None and time[0] >= since:
                    seconds.setdefault(who["tag"] or who["engine"] or "", set()).add(time[0])
    return {
        rank.pool: max(len(seconds.get(name, ())) for name in (rank.tags[0], f"{rank.dp_rank:03d}"))
        for rank in ranks
    }
