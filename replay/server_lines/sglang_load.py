"""SGLang's status lines: how full the pools are and how many requests are where.

    Decode batch. #running-req: 3, #token: 2624, token usage: 0.02, ... #queue-req: 0        0.2 to 0.5.2
    Decode batch, #running-req: 4, #full token: 26, full token usage: 0.10, #swa token: ...  0.5.3 on
    Prefill batch. #new-seq: 1, ..., #unbootstrapped-req: 0, #queue-req: 0, #transferring-req: 0   0.4.6
    Prefill batch, #new-seq: 1, ..., #bootstrap-req: 0, #inflight-req: 0                    0.5

Sources: sglang 0.4.6.post4 `managers/scheduler.py` (log_decode_stats, log_prefill_stats), 0.5.23
`managers/scheduler_components/{metrics_reporter,pool_stats_observer}.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from replay.recording.engine_messages import MessageStyle
from replay.server_lines.base import PlaceOf
from replay.server_lines.log_line import LogLine
from replay.server_lines.records import Load

#: `[123]` is the iteration, which SGLANG_LOG_FORWARD_ITERS adds.
_STATUS = re.compile(r"(?:Decode|Prefill) batch(?: \[\d+\])?[.,]? (.*)")
_FIELD = re.compile(r"(#?[A-Za-z][A-Za-z -]{0,40}): (-?\d{1,18}(?:\.\d{1,18})?)")

#: Pools by the names of their usage and of their used tokens.
_POOLS = (
    ("full", "token usage", "#token"),
    ("full", "full token usage", "#full token"),
    ("swa", "swa token usage", "#swa token"),
    ("mamba", "mamba usage", "mamba num"),
)


def read_status(line: LogLine, place_of: PlaceOf) -> list[Load]:
    """What a status line says of each pool; empty for another line."""
    found = _STATUS.search(line.text)
    if found is None:
        return []
    said = _FIELD.findall(found[1])
    fields = dict(said)
    count = {name: int(number) for name, number in said if "." not in number}.get
    place = place_of("sglang", "")
    return [
        Load(
            place=place,
            pool=pool,
            usage=_share(fields, usage),
            used_tokens=count(used),
            running=count("#running-req"),
            prefilling=count("#new-seq"),
            queued=count("#queue-req"),
            prealloc=count("#prealloc-req"),
            transferring=count("#transfer-req"),
            preallocated_usage=_share(fields, "pre-allocated usage"),
            inflight=count("#inflight-req", count("#transferring-req")),
            bootstrapping=count("#bootstrap-req", count("#unbootstrapped-req")),
            retracted=count("#retracted-req"),
            cached_tokens=count("#cached-token"),
        )
        for pool, usage, used in _POOLS
        if usage in fields or used in fields
    ]


def _share(fields: Mapping[str, str], name: str) -> float | None:
    return float(fields[name]) if name in fields else None


def decode_batch(
    style: MessageStyle,
    *,
    running: int,
    used_tokens: int,
    usage: float,
    preallocated_usage: float,
    prealloc: int,
    transferring: int,
    queued: int,
    throughput: float,
    has_cuda_graph: bool = True,
) -> str:
    """A `Decode batch` line; `throughput` is in generated tokens a second."""
    is_old = style == "sglang-0.4"
    parts = [
        f"Decode batch{'.' if is_old else ','} #running-req: {running}",
        f"#token: {used_tokens}",
        f"token usage: {usage:.2f}",
        f"pre-allocated usage: {preallocated_usage:.2f}",
    ]
    if not is_old:
        parts += [
            f"#prealloc-req: {prealloc}",
            f"#transfer-req: {transferring}",
            "#retracted-req: 0",
        ]
    if has_cuda_graph:
        parts.append("cuda graph: True")
    parts += [f"gen throughput (token/s): {throughput:.2f}", f"#queue-req: {queued}"]
    return ", ".join(parts)


def prefill_batch(
    style: MessageStyle,
    *,
    prefilling: int,
    new_tokens: int,
    cached_tokens: int,
    usage: float,
    bootstrapping: int,
    queued: int,
    queued_tokens: int,
    inflight: int,
    throughput: float,
) -> str:
    """A `Prefill batch` line; `throughput` is in prompt tokens a second."""
    is_old = style == "sglang-0.4"
    start = (
        f"Prefill batch{'.' if is_old else ','} #new-seq: {prefilling}, #new-token: {new_tokens}, "
        f"#cached-token: {cached_tokens}, token usage: {usage:.2f}, #running-req: 0, "
    )
    if is_old:
        # It ends in a space.
        return (
            f"{start}#unbootstrapped-req: {bootstrapping}, #queue-req: {queued}, "
            f"#transferring-req: {inflight} "
        )
    return (
        f"{start}#queue-req: {queued}, #pending-token: {queued_tokens}, "
        f"#bootstrap-req: {bootstrapping}, #inflight-req: {inflight}, #optimistic-req: 0, "
        f"cuda graph: False, input throughput (token/s): {throughput:.2f}"
    )
