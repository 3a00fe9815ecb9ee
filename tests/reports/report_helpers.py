"""Make a trace and a recording of it; read and change a recording's tables."""

import shutil

import pyarrow.parquet as pq

from faults.rule import FaultPlan
from replay.profiles.catalogue import find_profile
from replay.profiles.overrides import override
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import TraceWriter, open_trace
from traces.schema import TraceRequest

#: A text that would run if anything forgot to escape it.
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def write_trace(path, requests=40):
    """Requests a tenth of a second apart; one has a hostile name."""
    with TraceWriter(path, source="test", block_size=16) as writer:
        for index in range(requests):
            writer.write(
                TraceRequest(
                    request_id=f"r{index}" if index != 2 else f"r2{HOSTILE}",
                    arrival_us=index * 100_000,
                    input_tokens=200 + 37 * index,
                    output_tokens=10 + index,
                    block_hashes=None,
                    session_id=None,
                    cancel_us=None,
                    priority=None,
                )
            )
    return path


def record(out, trace, profile_name, plan=None, overrides=None):
    """Replay into `out`, and return it."""
    request = ReplayRequest(
        trace=open_trace(trace),
        profile=override(find_profile(profile_name), overrides or {}),
        plan=plan or FaultPlan(),
        options=SessionOptions(seed=4),
        device="cpu",
        reproduce=f"kvreplay run {trace.name} --profile {profile_name} --seed 4",
    )
    replay(request, out)
    return out


def copy_changed(recording, copy, table=None, column=None, row=0, value=None):
    """A copy of a recording in which one cell of one table is another."""
    shutil.copytree(recording, copy)
    if table is not None:
        path = copy / f"{table}.parquet"
        before = pq.read_table(path)
        rows = before.to_pylist()
        rows[row] = {**rows[row], column: value}
        pq.write_table(before.schema.empty_table().from_pylist(rows, before.schema), path)
    return copy
