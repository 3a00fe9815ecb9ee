"""Run one replay, record it and judge it. All commands that replay use this module.

trace + profile + plan + options  ->  Session  ->  recording directory  ->  verdict
"""

from __future__ import annotations

import gc
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from faults.rule import FaultPlan, rule_document
from replay.pool.arrays import Arrays
from replay.pool.foreign_allocator import AllocatorFactory, name_of
from replay.profiles.footprint import enough_memory
from replay.profiles.profile import EngineProfile
from replay.recording.file_kinds import RECORDING
from replay.recording.fingerprint import hash_recording
from replay.recording.reader import Recording, recording_directory
from replay.recording.tables import EPISODES_SCHEMA, RUN_SCHEMA
from replay.recording.writer import RecordingWriter
from replay.run.device import arrays_on, choose_device
from replay.run.session import Session, SessionOptions, SessionResult
from replay.run.swarm import Swarm
from replay.verdict.blame import episode_rows
from replay.verdict.judge import Verdict, judge
from replay.watch.base import Observer
from traces.dataset import Trace
from traces.errors import OutputError
from traces.files.place import Place, hold
from traces.files.writing import create, write
from traces.text import json_text

#: Objects made between two collections of the youngest generation during a replay.
_COLLECT_EVERY = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """All inputs of one replay."""

    trace: Trace
    profile: EngineProfile
    plan: FaultPlan
    options: SessionOptions
    #: Name of the trace, if its path is temporary (generated for this replay).
    trace_name: str = ""
    device: str = "auto"
    #: Array operations; by default those for the device.
    arrays: Arrays | None = None
    #: Creates the allocator of every pool, in place of the engine's.
    make_allocator: AllocatorFactory | None = None
    #: The command that repeats this replay.
    reproduce: str = ""
    #: The draws of the seed, already part of the profile and the plan; None if nothing was drawn.
    swarm: Swarm | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A recorded replay: the data for run.json, and its wall-clock times."""

    run: dict[str, Any]
    elapsed_s: float
    cpu_s: float
    requests_per_s: float


def replay(
    request: ReplayRequest,
    out: Path | Place | None = None,
    progress: Callable[[int], None] | None = None,
    observers: Sequence[Observer] = (),
    write_beside: Callable[[Recording], list[tuple[Place, Path]]] | None = None,
    look: Callable[[Recording, Verdict], None] | None = None,
) -> dict[str, Any]:
    """Replay, record to `out` (or to a temporary folder) and return the summary.

    `observers` receive all events and do not change the recording. `write_beside` writes more files
    from the finished recording, such as the servers' logs; they are put into their places together
    with it. `look` is called with the finished recording before it is moved to its place or
    deleted.

    Raises:
        TraceError: the trace breaks a rule of its schema.
        OutputError: `out` cannot be written, or contains other files.
        DeviceError: the device has too little memory.
        InvariantError: the replay itself is broken.
    """
    device = choose_device(request.device)
    written: list[tuple[Place, Path]] = []
    with enough_memory(request.profile, device), recording_directory(out, written) as directory:
        seen = observe(request, RecordingWriter(directory), device, progress, observers)
        write(directory / "run.json", json_text(seen.run) + "\n")
        recording = Recording.open(directory)
        verdict = judge(recording)
        episodes = pa.Table.from_pylist(
            episode_rows(recording.run, verdict.episodes), EPISODES_SCHEMA
        )
        with create(directory / "episodes.parquet") as file:
            pq.write_table(episodes, file, compression="zstd")
        summary = verdict.summary | {
            "recording_sha256": hash_recording(directory),
            "timing": {
                "replay_s": round(seen.elapsed_s, 3),
                "cpu_s": round(seen.cpu_s, 3),
                "requests_per_s": round(seen.requests_per_s, 1),
            },
        }
        write(directory / "summary.json", json_text(summary) + "\n")
        if look is not None:
            look(recording, verdict)
        if write_beside is not None:
            written += write_beside(Recording.open(directory))
    return summary


@contextmanager
def hold_recording(
    out: Path, request: ReplayRequest, *, reads: Sequence[Path] = (), force: bool = False
) -> Iterator[Place]:
    """Reserve the place of a recording; a recording of another run is kept, unless `force`.

    Raises:
        OutputError: the recording of another run, or another file, is there.
    """
    with hold(out, RECORDING, reads=reads, makes_folders=True) as place:
        if not force and place.exists and (place.path / "run.json").exists():
            found = Recording.open(place.path).run
            of_found = [found.get(key) for key in ("trace", "profile", "plan", "swarm", "options")]
            is_same = False
            # A damaged recording counts as that of another run.
            with suppress(KeyError, TypeError):
                is_same = _identity(*of_found) == _identity(*_asked(request).values())
            if not is_same:
                raise OutputError(
                    f"{out}: holds the recording of another run; name another directory, or replace "
                    "it with --force"
                )
        yield place


def _identity(trace: Any, profile: Any, plan: Any, swarm: Any, options: Any) -> Any:
    """Return the identity of a run, as JSON values."""
    whole = (trace["sha256"], profile, plan["rules"], swarm, options)
    return json.loads(json.dumps(whole))


def _asked(request: ReplayRequest) -> dict[str, Any]:
    """Return the part of run.json that is known before the run."""
    return {
        "trace": {
            "path": request.trace_name or str(request.trace.path),
            "sha256": request.trace.sha256(),
            "requests": request.trace.request_count,
            "block_size": request.trace.block_size,
            "source": request.trace.source,
        },
        "profile": request.profile.to_dict(),
        "plan": {
            "source": request.plan.source,
            "comment": request.plan.comment,
            "rules": [rule_document(rule) for rule in request.plan.rules],
        },
        "swarm": None if request.swarm is None else request.swarm.to_dict(),
        "options": asdict(request.options),
    }


def observe(
    request: ReplayRequest,
    recorder: RecordingWriter,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
    observers: Sequence[Observer] = (),
) -> Observed:
    """Replay into a recorder, without a verdict.

    Raises:
        TraceError: the trace breaks a rule of its schema.
        InvariantError: the replay itself is broken.
    """
    session = Session(
        request.trace,
        request.profile,
        request.plan,
        request.options,
        recorder,
        request.arrays or arrays_on(device),
        progress,
        request.make_allocator,
        observers,
    )
    started, started_cpu = time.perf_counter(), time.process_time()
    with _rare_collections():
        result = session.run()
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    run = _run_document(request, session, result, device)
    session.pair.free_pools()
    return Observed(run, elapsed_s, cpu_s, result.requests / elapsed_s if elapsed_s else 0.0)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect garbage rarely during a replay, which makes no cycles; collections cost a tenth of its time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _run_document(
    request: ReplayRequest, session: Session, result: SessionResult, device: torch.device
) -> dict[str, Any]:
    """Return run.json: everything needed to repeat the run, and facts that are not in the tables."""
    journal, auditor = session.fault_journal, session.auditor
    return {
        "schema": RUN_SCHEMA,
        "kvreplay": _own_version(),
        "reproduce": request.reproduce,
        **_asked(request),
        "pools": [
            {"pool": name, "total_tokens": total, "page_size": request.profile.page_size}
            for name, total in session.pair.pool_sizes()
        ],
        "phases": [asdict(phase) for phase in result.phases],
        "budget_exhausted": result.budget_exhausted,
        "stopped_early": result.stopped_early,
        "pending_at_end": result.pending_at_end,
        "engine": {
            "check_fired": auditor.engine_check_fired,
            "died_us": auditor.died_us,
            "died_pool": auditor.died_pool,
            "died_message": auditor.died_message,
            "died_of_check": auditor.died_of_check,
        },
        "oracles": session.findings(),
        "faults": {
            "totals": {
                "planned": journal.planned,
                "landed": journal.landed,
                "observed": journal.observed,
                "never_fired": len(journal.never_fired),
                "without_effect": len(journal.without_effect),
            },
            "rules": {name: asdict(rule) for name, rule in journal.rules.items()},
            "never_fired": journal.never_fired,
            "without_effect": journal.without_effect,
        },
        "environment": {
            "device": str(device),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "pyarrow": pa.__version__,
            "machine": platform.machine(),
            **_foreign_allocator(request),
        },
    }


@lru_cache(maxsize=1)
def _own_version() -> str:
    """Cached, because looking it up takes as long as a small replay."""
    return version("kvreplay")


def _foreign_allocator(request: ReplayRequest) -> dict[str, str]:
    """Return the name of the user's allocator, if the engine's was replaced."""
    if request.make_allocator is None:
        return {}
    return {"allocator": name_of(request.make_allocator)}
