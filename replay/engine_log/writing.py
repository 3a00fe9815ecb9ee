"""From a recording to the logs of its servers.

    requests.parquet --> queues over time --+
    audits.parquet --one stream a rank------+--> lines of a rank --merged by time--> one log, or
    events.parquet, run.json --> deaths ----+                                       one a server

A pure function of the recording: nothing in a replay knows of it. Memory grows by some hundred bytes a
request, not with audits or lines. The same tag means another pool on another server, so in one log each
line has its server in front, as `kubectl logs --prefix` puts it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from replay.engine_log import sglang, vllm
from replay.engine_log.deaths import Death, death_lines, find_death
from replay.engine_log.pool_use import audit_rows
from replay.engine_log.queue_lengths import (
    DecodeQueues,
    Requests,
    decode_queues,
)
from replay.engine_log.servers import Server, WrittenLine, servers_of, tagged
from replay.recording.engine_messages import MessageStyle
from replay.recording.file_kinds import ENGINE_LOG_HEAD
from replay.recording.reader import Recording
from traces.files.place import Place
from traces.files.writing import create_text

#: Nobody closes a log at the very moment at which the last request ends.
QUIET_END_US = 30_000_000


#: Stands for the server's name in the name of a log, where each is to have its own.
SERVER = "{server}"


def log_names(path: Path, profile: Mapping[str, Any]) -> dict[str, Path]:
    """Where each server's log goes: `serve.{server}.log` becomes `serve.decode0.log` and so on.

    Without `{server}` there is one log of all, under the empty name.
    """
    if SERVER not in path.name:
        return {"": path}
    names = [
        f"{side}{number}"
        for side in ("prefill", "decode")
        for number in range(profile[f"{side}_instances"])
    ]
    return {name: path.with_name(path.name.replace(SERVER, name)) for name in names}


def write_engine_logs(recording: Recording, logs: Mapping[str, Place]) -> list[tuple[Place, Path]]:
    """Write what the servers of a recording would have logged; the working files are yet to be put.

    Raises:
        RecordingError: the recording is broken.
    """
    servers = servers_of(recording.run)
    written = []
    for name, place in logs.items():
        if name:
            lines = server_lines(recording, next(each for each in servers if each.name == name))
        else:
            streams = [_behind_its_name(recording, server) for server in servers]
            merged = heapq.merge(*streams, key=lambda line: line.time_us)
            lines = (line.text for line in merged)
        working = place.file()
        with create_text(working) as file:
            file.writelines(f"{line}\n" for line in lines)
        written.append((place, working))
    return written


def _behind_its_name(recording: Recording, server: Server) -> Iterator[WrittenLine]:
    """A server's lines as a collector of many servers' logs has them."""
    prefix = f"[pod/{server.name}/engine] "
    for line in _server_log(recording, server):
        text = "\n".join(prefix + each for each in line.text.split("\n"))
        yield WrittenLine(line.time_us, text)


def server_lines(recording: Recording, server: Server) -> Iterator[str]:
    """The lines of one server's log in order of time, without newlines at their ends."""
    return (line.text for line in _server_log(recording, server))


def _server_log(recording: Recording, server: Server) -> Iterator[WrittenLine]:
    yield WrittenLine(0, ENGINE_LOG_HEAD)
    profile = recording.run["profile"]
    requests = {
        rank.pool: Requests.of_pool(recording, server.side, rank.pool) for rank in server.ranks
    }
    queues: dict[str, DecodeQueues] = {}
    if server.side == "decode":
        queues = {pool: decode_queues(each) for pool, each in requests.items()}
    death = find_death(recording, server, queues)
    rank_lines = vllm.rank_lines if profile["message_style"] == "vllm" else sglang.rank_lines
    end_us = _end_us(recording)
    streams = [
        rank_lines(
            rank,
            requests[rank.pool],
            queues.get(rank.pool),
            profile,
            audit_rows(recording, server.name, rank.pool),
            end_us,
        )
        for rank in server.ranks
    ]
    merged = heapq.merge(_first_lines(server, profile), *streams, key=lambda line: line.time_us)
    yield from _until(merged, death, profile["message_style"])


def _until(
    lines: Iterable[WrittenLine], death: Death | None, style: MessageStyle
) -> Iterator[WrittenLine]:
    """Lines up to a server's death, and its last words."""
    for line in lines:
        if death is not None and line.time_us > death.time_us:
            break
        yield line
    if death is not None:
        yield from death_lines(death, style)


def _first_lines(server: Server, profile: dict[str, Any]) -> list[WrittenLine]:
    """What servers say of their pools when they start."""
    if profile["message_style"] == "vllm":
        blocks = f"GPU KV cache size: {server.ranks[0].total_tokens:,} tokens"
        return [vllm.api_line(0, "kv_cache_utils.py:1700", blocks)]
    return [
        tagged(
            0,
            rank.tags[0],
            f"max_total_num_tokens={rank.total_tokens}, "
            f"chunked_prefill_size={profile['chunked_prefill_tokens']}, max_prefill_tokens=16384, "
            f"max_running_requests={profile['max_running_requests']}, context_len=163840",
        )
        for rank in server.ranks[:1]
    ]


def _end_us(recording: Recording) -> int:
    """When the logs end: some quiet after the replay, unless something could still happen in it."""
    return recording.end_us + (0 if recording.run["pending_at_end"] else QUIET_END_US)
