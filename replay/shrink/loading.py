"""From a recording back to the case that it is of."""

from __future__ import annotations

from pathlib import Path

from replay.defects import with_defects
from replay.errors import RecordingError
from replay.profile import EngineProfile
from replay.profile_catalogue import builtin_profiles
from replay.recording import Recording
from replay.replayable import replayable
from replay.shrink.case import Case, plain_rule, settings_of


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
    where = f"{recording.directory}/run.json"
    with replayable(recording, None if trace is None else Path(trace), "cpu") as request:
        profile, defects = _names(request.profile, where)
        base = with_defects(builtin_profiles()[profile], defects)
        try:
            rules = tuple(plain_rule(rule) for rule in request.plan.rules)
        except KeyError as problem:
            raise RecordingError(f"{where}: there is no fault {problem}") from None
        return Case(
            requests=tuple(request.trace.iter_requests()),
            block_size=request.trace.block_size,
            profile=profile,
            defects=defects,
            settings=settings_of(request.profile, base),
            rules=rules,
            options=request.options,
        )


def _names(engine: EngineProfile, where: str) -> tuple[str, tuple[str, ...]]:
    """The name of a built-in profile, and the bugs that were switched on beside its own."""
    known = builtin_profiles()
    if engine.name not in known:
        raise RecordingError(
            f"{where}: the profile {engine.name!r} is not built in, so that no line repeats it"
        )
    own = known[engine.name].defects
    return engine.name, tuple(each for each in engine.defects if each not in own)
