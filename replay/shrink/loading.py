"""From a recording back to the case that it is of."""

from __future__ import annotations

from pathlib import Path

from faults.kinds.registry import plain_rule
from replay.errors import RecordingError
from replay.profiles.catalogue import builtin_profiles
from replay.profiles.profile import EngineProfile
from replay.recording.reader import Recording
from replay.run.origin import replayable
from replay.shrink.case import Case, settings_of


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
    with replayable(recording, None if trace is None else Path(trace), "cpu") as request:
        name, defects, settings = _how_to_say(recording, request.profile)
        return Case(
            requests=tuple(request.trace.iter_requests()),
            block_size=request.trace.block_size,
            profile=name,
            defects=defects,
            settings=settings,
            rules=tuple(plain_rule(rule) for rule in request.plan.rules),
            options=request.options,
        )


def _how_to_say(
    recording: Recording, engine: EngineProfile
) -> tuple[str, tuple[str, ...], tuple[tuple[str, object], ...]]:
    """The name of a built-in profile, the bugs switched on beside its own, and what else differs."""
    from replay.profiles.defects import with_defects

    known = builtin_profiles()
    if engine.name not in known:
        raise RecordingError(
            f"{recording.directory}: the profile {engine.name!r} is not built in, so that no "
            "command line repeats it"
        )
    base = known[engine.name]
    defects = tuple(each for each in engine.defects if each not in base.defects)
    return engine.name, defects, settings_of(engine, with_defects(base, defects))
