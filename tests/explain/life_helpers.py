"""Small replays whose recording and trace stay on disk, and what is told of them."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from faults.rule import FaultPlan, FaultRule
from replay.explain.life import Life, Step
from replay.explain.page_life import page_life
from replay.explain.request_life import read_request, request_life
from replay.explain.subject import PageName
from replay.profiles.catalogue import find_profile
from replay.profiles.defects import with_defects
from replay.recording.reader import Recording
from replay.recording.sightings import Sighted, Watch
from replay.reproduce.schedules import BLOCK_SIZE, draw_schedule
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from replay.run.watch_again import watch_again
from traces.dataset import open_trace
from traces.schema import TraceRequest
from traces.writer import TraceWriter

SMALL: dict[str, Any] = {
    "total_tokens": 65_536,
    "prefill_total_tokens": 65_536,
    "page_size": 16,
    "prefill_tp": 1,
    "prefill_dp": 1,
    "decode_tp": 1,
    "decode_dp": 1,
}


def every(gap_us: int, count: int, **fields: Any) -> list[TraceRequest]:
    """Requests q0, q1, ... that arrive so far apart."""
    sizes = {"input_tokens": 100, "output_tokens": 20} | fields
    return [TraceRequest(f"q{at}", at * gap_us, **sizes) for at in range(count)]


def record(
    directory: Path,
    profile: str,
    requests: list[TraceRequest],
    *rules: FaultRule,
    defects: tuple[str, ...] = (),
    options: SessionOptions | None = None,
    block_size: int | None = None,
    **fields: Any,
) -> Recording:
    """Replay a few requests through a small pair; trace and recording go into the directory."""
    path = directory / "trace.parquet"
    with TraceWriter(path, source="test", block_size=block_size) as writer:
        for request in requests:
            writer.write(request)
    base = with_defects(find_profile(profile), defects)
    return _replay(directory, dataclasses.replace(base, **(SMALL | fields)), rules, options)


def record_schedule(directory: Path, seed: int, defects: tuple[str, ...] = ()) -> Recording:
    """Replay a random schedule on the hardened pair with some bugs switched on."""
    schedule = draw_schedule(seed)
    path = directory / "trace.parquet"
    with TraceWriter(path, source="schedule", block_size=BLOCK_SIZE) as writer:
        for request in schedule.requests:
            writer.write(request)
    profile = dataclasses.replace(find_profile("hardened"), **schedule.deployment)
    options = SessionOptions(seed=seed)
    return _replay(directory, with_defects(profile, defects), schedule.plan.rules, options)


def _replay(directory, profile, rules, options) -> Recording:
    request = ReplayRequest(
        trace=open_trace(directory / "trace.parquet"),
        profile=profile,
        plan=FaultPlan(tuple(rules)),
        options=options or SessionOptions(),
        device="cpu",
    )
    replay(request, directory / "recording")
    return Recording.open(directory / "recording")


def told(recording: Recording, request_id: str) -> Life:
    """The life of a request from the tables alone."""
    return request_life(read_request(recording, request_id))


def watched(recording: Recording, request_id: str) -> tuple[Life, Sighted]:
    """The life of a request from a watched replay, and what was seen."""
    sighted = watch_again(recording, Watch(request_id=request_id), _silently, device="cpu")
    return request_life(read_request(recording, request_id), sighted), sighted


def page_of(recording: Recording, pool: str, number: int) -> tuple[Life, Sighted]:
    """The life of a page, and what was seen of it."""
    sighted = watch_again(recording, Watch(pool=pool, page=number), _silently, device="cpu")
    return page_life(recording, PageName(pool, number), sighted), sighted


def blamed(life: Life) -> Step:
    """The step that a life blames."""
    assert life.blame is not None, life.headline
    return life.steps[life.blame]


def _silently(_total: int) -> nullcontext[None]:
    return nullcontext(None)
