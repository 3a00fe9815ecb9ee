"""What the engine tests share: requests without a pair around them, and small replays."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from faults.rule import FaultPlan, FaultRule
from replay.pair.request import Request
from replay.pool.arrays import Arrays, HostArrays
from replay.pool.device_arrays import DeviceArrays
from replay.profiles.catalogue import find_profile
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import TraceWriter, open_trace
from traces.schema import TraceRequest

BACKENDS: dict[str, Arrays] = {
    "host": HostArrays(),
    "device": DeviceArrays(torch.device("cpu")),
}

on_both_backends = pytest.mark.parametrize("arrays", BACKENDS.values(), ids=BACKENDS.keys())

POST4 = "sglang-0.4.6.post4"
SGLANG_0_5 = "sglang-0.5.23"
HARDENED = "hardened"

#: The pair of the field facts: one rank a side, 4,096 tokens, pages of one token.
SMALL_PAIR: dict[str, Any] = {
    "total_tokens": 4_096,
    "prefill_total_tokens": 4_096,
    "page_size": 1,
    "prefill_tp": 1,
    "decode_tp": 1,
    "decode_dp": 1,
}


def lone_request(ordinal: int, input_tokens: int, output_tokens: int) -> Request:
    """A request that no scheduler has seen."""
    return Request(
        ordinal=ordinal,
        request_id=f"r-{ordinal}",
        cycle=0,
        arrival_us=0,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        block_hashes=None,
        cancel_us=None,
        room=ordinal,
        prefill=None,  # type: ignore[arg-type]
        decode=None,  # type: ignore[arg-type]
    )


def page_ids(arrays: Arrays, pages: list[int]) -> Any:
    return arrays.upload(np.array(pages, dtype=np.int64))


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A finished replay: its summary and what became of each request."""

    summary: dict[str, Any]
    requests: dict[str, dict[str, Any]]
    audits: list[dict[str, Any]]

    @property
    def verdict(self) -> str:
        return self.summary["verdict"]


def replay_small(
    folder: Path,
    profile: str,
    requests: list[TraceRequest],
    *rules: FaultRule,
    block_size: int | None = None,
    options: SessionOptions | None = None,
    **fields: Any,
) -> Replayed:
    """Replay a few requests through the small pair, with some profile fields changed."""
    path = folder / "trace.parquet"
    with TraceWriter(path, source="test", block_size=block_size) as writer:
        for request in requests:
            writer.write(request)
    summary = replay(
        ReplayRequest(
            trace=open_trace(path),
            profile=dataclasses.replace(find_profile(profile), **(SMALL_PAIR | fields)),
            plan=FaultPlan(rules),
            options=options or SessionOptions(),
            device="cpu",
        ),
        folder / "recording",
    )
    rows = pq.read_table(folder / "recording" / "requests.parquet").to_pylist()
    audits = pq.read_table(folder / "recording" / "audits.parquet").to_pylist()
    return Replayed(summary, {row["request_id"]: row for row in rows}, audits)
