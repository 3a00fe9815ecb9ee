"""From a recording back to the case that it is of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faults.bursts import Burst
from faults.durations import Duration, LogNormal, Uniform
from faults.kinds import FaultRule
from replay.errors import ProfileError, RecordingError
from replay.matrix.named import split_reference, trace_file
from replay.profile import EngineProfile
from replay.profile_catalogue import builtin_profiles
from replay.recording import Recording
from replay.session import SessionOptions
from replay.shrink.case import Case, plain_rule, settings_of
from traces.dataset import Trace, open_trace

_SETS = (
    "occurrences",
    "request_ids",
    "session_ids",
    "pools",
    "dp_ranks",
    "prefill_tp_ranks",
    "decode_tp_ranks",
    "states",
)


def open_recording(directory: Path) -> Recording:
    """A recording, or the one in the folder `recording` of what `reproduce` or `shrink` wrote.

    Raises:
        RecordingError: there is none.
    """
    inner = directory / "recording"
    if not (directory / "run.json").exists() and (inner / "run.json").exists():
        return Recording.open(inner)
    return Recording.open(directory)


def load_case(recording: Recording, trace: str | None = None) -> Case:
    """The case of a recording; what a swarm drew is in it like anything else.

    Args:
        recording: of a replay with a built-in profile.
        trace: where its trace is now, if not where it was.

    Raises:
        RecordingError: the recording is damaged, its trace is gone or another one, or it is of a
            replay that no command line repeats.
        TraceError: the trace cannot be read.
    """
    run = recording.run
    if "allocator" in run.get("environment", {}):
        raise RecordingError(
            f"{recording.directory}: was made with the allocator {run['environment']['allocator']}, "
            "which a recording does not hold; shrink replays engines of `kvreplay profiles`"
        )
    try:
        given = trace or run["trace"]["path"]
        with trace_file(given) as path:
            opened = open_trace(path) if path.exists() else None
            _check_trace(recording, given, opened)
            assert opened is not None
            requests = tuple(opened.iter_requests())
        profile, defects, settings = _read_profile(run["profile"])
        return Case(
            requests=requests,
            block_size=opened.block_size,
            profile=profile,
            defects=defects,
            settings=settings,
            rules=tuple(_rule(rule) for rule in run["plan"]["rules"]),
            options=SessionOptions(**run["options"]),
        )
    except (KeyError, TypeError, AttributeError) as problem:
        raise RecordingError(
            f"{recording.directory}/run.json: damaged or of another version: "
            f"{type(problem).__name__} {problem}"
        ) from None


def _check_trace(recording: Recording, given: str, trace: Trace | None) -> None:
    """Make sure that the trace is the one that was replayed."""
    if trace is None:
        raise RecordingError(
            f"{recording.directory}: its trace {given} is not there any more; say where it is "
            "with --trace FILE"
        )
    wanted = recording.run["trace"]["sha256"]
    if (found := trace.sha256()) != wanted:
        what = "makes another trace" if split_reference(given) else "is another trace"
        raise RecordingError(
            f"{given}: {what} than the one that was replayed into {recording.directory} (sha256 "
            f"{found[:12]}..., not {wanted[:12]}...); name the right one with --trace FILE"
        )


def _read_profile(
    fields: Mapping[str, Any],
) -> tuple[str, tuple[str, ...], tuple[tuple[str, object], ...]]:
    """The name of a built-in profile, the bugs switched on beside its own, and what else differs."""
    from replay.defects import with_defects

    given: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in fields.items()
    }
    name, known = given["name"], builtin_profiles()
    if name not in known:
        raise RecordingError(f"the profile {name!r} is not built in, so that no line repeats it")
    defects = tuple(each for each in given["defects"] if each not in known[name].defects)
    try:
        engine = EngineProfile(**given)
        base = with_defects(known[name], defects)
    except ProfileError as problem:
        raise RecordingError(f"run.json: {problem}") from None
    return name, defects, settings_of(engine, base)


def _rule(document: Mapping[str, Any]) -> FaultRule:
    """A rule from run.json, in which sets are lists and what is not given is missing."""
    fields = dict(document)
    for name in _SETS:
        if name in fields:
            fields[name] = frozenset(fields[name])
    if "burst" in fields:
        fields["burst"] = Burst(**fields["burst"])
    for name in ("delay_us", "copy_delay_us"):
        if name in fields:
            fields[name] = _duration(fields[name])
    known = {field.name for field in dataclasses.fields(FaultRule)}
    return plain_rule(FaultRule(**{name: each for name, each in fields.items() if name in known}))


def _duration(value: Any) -> Duration | tuple[int, ...]:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, Mapping):
        return Uniform(**value) if "low_us" in value else LogNormal(**value)
    whole: int = value
    return whole
