"""When each server's log ends early: its engine died, and with it the whole server.

A scheduler of SGLang that raises logs the traceback and has its launcher kill every process of the
server (0.4.6.post4 `managers/scheduler.py`, run_scheduler_process; `entrypoints/engine.py`,
sigquit_handler). An engine core of vLLM logs it and takes its API server along (0.33.0
`v1/engine/core.py`). The replay goes on as if nothing had happened; the log of that server does not.
The other servers' logs do, as if their peer had been there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replay.engine_log.pool_use import audit_rows
from replay.engine_log.queue_lengths import DecodeQueues
from replay.engine_log.servers import LogRank, Server, WrittenLine, tagged
from replay.engine_log.sglang import check_messages
from replay.engine_log.vllm import core_line
from replay.recording.engine_messages import MessageStyle
from replay.recording.kinds import Outcome
from replay.recording.reader import Recording
from replay.server_lines.crashes import sglang_death, vllm_death


@dataclass(frozen=True, slots=True)
class Death:
    """The end of one server."""

    time_us: int
    rank: LogRank
    message: str
    #: Whether the accounting check killed it.
    of_check: bool


def find_death(
    recording: Recording, server: Server, queues: dict[str, DecodeQueues]
) -> Death | None:
    """The first moment at which this server's engine would have died, or None.

    Raises:
        RecordingError: a table is missing or broken.
    """
    deaths = [_first_death(recording.run, server), _crash(recording, server)]
    if recording.run["profile"]["check_strictness"] == "error":
        deaths += [_failed_check(recording, server, rank, queues) for rank in server.ranks]
    return min(
        (death for death in deaths if death is not None),
        key=lambda death: death.time_us,
        default=None,
    )


def _rank_of(server: Server, pool: str) -> LogRank | None:
    return next((rank for rank in server.ranks if rank.pool == pool), None)


def _first_death(run: dict[str, Any], server: Server) -> Death | None:
    """The death that the replay itself has noted, if it was here."""
    engine = run["engine"]
    rank = None if engine["died_us"] is None else _rank_of(server, engine["died_pool"])
    if rank is None:
        return None
    return Death(engine["died_us"], rank, engine["died_message"], engine["died_of_check"])


def _crash(recording: Recording, server: Server) -> Death | None:
    """The first completion that crashed a scheduler here."""
    first: Death | None = None
    for batch in recording.batches("events", ("pool", "delivered_us", "outcome")):
        for row in batch.to_pylist():
            rank = _rank_of(server, row["pool"]) if row["outcome"] == Outcome.CRASHED else None
            if rank is not None and (first is None or row["delivered_us"] < first.time_us):
                words = "AssertionError: assert req_id in self.requests"
                first = Death(row["delivered_us"], rank, words, of_check=False)
    return first


def _failed_check(
    recording: Recording, server: Server, rank: LogRank, queues: dict[str, DecodeQueues]
) -> Death | None:
    """The first check of a rank that failed."""
    for row in audit_rows(recording, server.name, rank.pool):
        if row.engine_check == "fired":
            profile = recording.run["profile"]
            tokens, slots = check_messages(row, rank, queues.get(rank.pool), profile)
            return Death(row.time_us, rank, tokens or slots or "", of_check=True)
    return None


def death_lines(death: Death, style: MessageStyle) -> list[WrittenLine]:
    """The last words of a server."""
    if style == "vllm":
        words = vllm_death(death.message)
        return [core_line(death.time_us, death.rank, "ERROR", "core.py:2806", words)]
    side = "prefill" if death.rank.pool.startswith("prefill") else "decode"
    words = sglang_death(death.message, side, style, of_check=death.of_check)
    lines = [tagged(death.time_us, tag, words) for tag in death.rank.tags]
    parent = "Received sigquit from a child process. It usually means the child failed."
    return [*lines, tagged(death.time_us, "", parent)]
