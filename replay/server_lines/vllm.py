"""vLLM's status lines, and its connectors' lines about transfers.

    Engine 000: Avg prompt throughput: ..., Running: 34 reqs, Waiting: 18 reqs, GPU KV cache usage: 99.2%
    Avg prompt throughput: ..., Running: 1 reqs, Swapped: 0 reqs, Pending: 0 reqs, GPU KV cache usage: 0.2%   V0

Sources: vllm 0.33.0 `v1/metrics/loggers.py`, `v1/core/sched/scheduler.py`,
`distributed/kv_transfer/kv_connector/v1/{nixl,mooncake}`, and the lines of public reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from replay.server_lines.base import REQUEST, SECONDS, Family, PlaceOf, transfer_family
from replay.server_lines.log_line import LogLine
from replay.server_lines.records import Load, Record, TransferTrouble

_ENGINE = re.compile(r"\bEngine (\d{1,6}): ")
_RUNNING = re.compile(r"\bRunning: (\d{1,12})")
_WAITING = re.compile(r"\b(?:Waiting|Pending): (\d{1,12})")
#: Not the host's cache, which V0 names after the device's.
_USAGE = re.compile(r"(?<!CPU )\bKV cache usage: (\d{1,3}(?:\.\d{1,9})?)%")


def _read_load(line: LogLine, place_of: PlaceOf) -> Iterator[Record]:
    text = line.text
    running, usage = _RUNNING.search(text), _USAGE.search(text)
    if running is None and usage is None:
        return
    engine, waiting = _ENGINE.search(text), _WAITING.search(text)
    yield Load(
        place=place_of("vllm", f"DP{int(engine[1])}" if engine else ""),
        pool="full",
        usage=round(float(usage[1]) / 100, 6) if usage else None,
        running=int(running[1]) if running else None,
        queued=int(waiting[1]) if waiting else None,
    )


def statistics(
    dp_rank: int,
    *,
    prompt_throughput: float,
    generation_throughput: float,
    running: int,
    queued: int,
    fetching: int,
    usage: float,
    cache: str,
) -> str:
    """A status line. `queued` includes `fetching`, which is mentioned only where there are some.

    Throughputs are in tokens a second; `cache` is the rest of the line, about hit rates.
    """
    deferred = ""
    if fetching:
        deferred = (
            f"Deferred: {fetching} reqs, KV fetch: 0 waiting to start, {fetching} in progress, "
            "0 completed waiting, "
        )
    return (
        f"Engine {dp_rank:03d}: Avg prompt throughput: {prompt_throughput:.1f} tokens/s, "
        f"Avg generation throughput: {generation_throughput:.1f} tokens/s, Running: {running} reqs, "
        f"Waiting: {queued} reqs, {deferred}GPU KV cache usage: {usage:.1%}, {cache}"
    )


VLLM_LOAD = Family("vllm load", ("KV cache usage: ",), _read_load)


VLLM_TRANSFERS = transfer_family(
    "vllm transfer",
    "vllm",
    (
        "expired KV blocks",
        "invalid KV blocks",
        "WAITING_FOR_REMOTE_KVS",
        "may have expired",
        "without a push completion",
        "before releasing blocks",
        "expired remote read",
        "NIXL transfer failure",
        "without being sent",
        "expired before sending",
        "waiting for P side ready",
        "pulling kv_caches for",
        "KV load failure",
        "marking blocks as invalid",
    ),
    (
        (
            TransferTrouble.HOLD_EXPIRED,
            rf"Releasing expired KV blocks for request {REQUEST} which were retrieved by \d+ "
            rf"\w+ worker\(s\)(?: within {SECONDS} seconds)?",
        ),
        (TransferTrouble.HOLD_EXPIRED, r"Releasing expired KV blocks.*"),
        (
            TransferTrouble.READ_AFTER_RELEASE,
            rf"Potentially invalid KV blocks for unrecognized request {REQUEST}(?: were|$)",
        ),
        (TransferTrouble.READ_AFTER_RELEASE, r"Potentially invalid KV blocks"),
        (
            TransferTrouble.STILL_WAITING,
            r"(?<![\w.:-])(?P<request>[\w.:-]{1,200}) is still in WAITING_FOR_REMOTE_KVS state",
        ),
        (TransferTrouble.UNKNOWN_REQUEST, rf"Unrecognized request {REQUEST} notif"),
        (
            TransferTrouble.TIMED_OUT_WAITING,
            rf"registration for request {REQUEST} timed out after {SECONDS}s without",
        ),
        (
            TransferTrouble.HELD,
            rf"request_finished\({REQUEST}\) waiting for {SECONDS} seconds before",
        ),
        (TransferTrouble.FAILED, rf"Declining expired remote read for {REQUEST} from"),
        (
            TransferTrouble.FAILED,
            r"NIXL transfer failure: .*?(?:'request_id': '(?P<request>[^']+)'|$)",
        ),
        (
            TransferTrouble.HOLD_EXPIRED,
            rf"Request {REQUEST} timed out after {SECONDS} seconds without being sent",
        ),
        (TransferTrouble.HOLD_EXPIRED, rf"Request {REQUEST} expired before sending on P side"),
        (TransferTrouble.TIMED_OUT_WAITING, r"Timeout waiting for P side ready.*"),
        (TransferTrouble.FAILED, r"pulling kv_caches for (?P<request>.{1,100}?) failed"),
        (
            TransferTrouble.FAILED,
            rf"\w{{1,30}} failed for request {REQUEST}, marking blocks as invalid",
        ),
        (TransferTrouble.FAILED, r"(?:Recovered from|due to) KV load failure.*"),
    ),
)


def expired_hold(request_id: str) -> str:
    """The line about a prompt whose hold expired before it was read."""
    return (
        f"Releasing expired KV blocks for request {request_id} which were retrieved by 0 remote "
        "worker(s) before lease expired."
    )
