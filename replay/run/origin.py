"""From a recording back to the replay that made it: trace, profile, plan, seed and options.

run.json contains everything that a replay depends on except the requests. The trace is looked for
by its path and identified by its SHA-256. The draws of a swarm are stored in run.json, so nothing
is drawn again.

    run.json + trace  ->  ReplayRequest  ->  the same recording, byte for byte
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.kinds.registry import KINDS
from faults.rule import FaultPlan, read_rule
from replay.errors import MatrixError, ProfileError, RecordingError
from replay.profiles.profile import EngineProfile
from replay.recording.reader import Recording
from replay.run.references import split_reference, trace_file
from replay.run.swarm import Swarm
from traces.dataset import Trace, open_trace
from traces.errors import TraceError

if TYPE_CHECKING:
    from replay.run.replay_once import ReplayRequest


@contextmanager
def replayable(
    recording: Recording, trace: Path | None = None, device: str = "auto"
) -> Iterator[ReplayRequest]:
    """Yield the request that made a recording; a generated trace exists as long as the block.

    Args:
        recording: the recording to replay.
        trace: the path of the trace, if it has moved.
        device: the device of the pools; the recording is the same on all devices.

    Raises:
        RecordingError: the trace is missing or has changed, run.json is damaged, or the recording was
            made with a user's allocator, which it does not contain.
    """
    run, where = recording.run, f"{recording.directory}/run.json"
    if (allocator := run.get("environment", {}).get("allocator")) is not None:
        raise RecordingError(
            f"{where}: was made with the allocator {allocator}, which a recording does not contain"
        )
    try:
        profile, plan = read_profile(run["profile"]), read_plan(run["plan"])
        swarm = _read_swarm(run["swarm"], plan)
        line, name = str(run["reproduce"]), str(run["trace"]["path"])
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        words = str(problem) if isinstance(problem, ProfileError) else repr(problem)
        raise _of_another_version(where, words) from None
    with find_trace(recording, trace) as found:
        # These import torch, which is not needed to find that a trace is missing.
        from replay.run.replay_once import ReplayRequest
        from replay.run.session import SessionOptions

        try:
            options = SessionOptions(**run["options"])
        except (KeyError, TypeError) as problem:
            raise _of_another_version(where, repr(problem)) from None
        yield ReplayRequest(
            trace=found,
            trace_name=name,
            profile=profile,
            plan=plan,
            options=options,
            device=device,
            reproduce=line,
            swarm=swarm,
        )


def _of_another_version(where: str, words: str) -> RecordingError:
    return RecordingError(f"{where}: cannot be replayed by this version of kvreplay: {words}")


def read_profile(document: Mapping[str, Any]) -> EngineProfile:
    """Return the profile from the result of `EngineProfile.to_dict`, before or after JSON.

    Raises:
        ProfileError: a value is out of range.
        TypeError: it has a field unknown to this version.
    """
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
    return EngineProfile(**fields)


def read_plan(document: Mapping[str, Any]) -> FaultPlan:
    """Return the plan in run.json.

    Raises:
        KeyError, TypeError, ValueError: the plan is not of this version.
    """
    rules = tuple(read_rule(rule) for rule in document["rules"])
    if unknown := {rule.fault for rule in rules} - KINDS.keys():
        raise ValueError(f"there is no fault {min(unknown)!r}")
    return FaultPlan(rules, document["comment"], document["source"])


def _read_swarm(document: Mapping[str, Any] | None, plan: FaultPlan) -> Swarm | None:
    """Return the draws of a swarm; its rules are in the plan, by name."""
    if document is None:
        return None
    named = {rule.name: rule for rule in plan.rules}
    rules = tuple(named[name] for name in document["rules"])
    return Swarm(dict(document["settings"]), FaultPlan(rules))


@contextmanager
def find_trace(recording: Recording, given: Path | None) -> Iterator[Trace]:
    """Return the replayed trace from its current place.

    Raises:
        RecordingError: the trace is in none of the places, or has changed.
    """
    facts = recording.run["trace"]
    places = [str(given)] if given is not None else _places(recording, facts["path"])
    reasons: list[str] = []
    with ExitStack() as stack:
        for place in places:
            try:
                found = open_trace(stack.enter_context(trace_file(place)))
                if found.sha256() == facts["sha256"]:
                    break
                reasons.append(f"{place} holds other requests than those that were replayed")
            except (TraceError, MatrixError) as problem:
                reasons.append(str(problem).split(";")[0])
        else:
            if given is not None:
                raise RecordingError(
                    f"--trace {given}: is not the trace of {recording.directory}: {reasons[0]}"
                )
            raise RecordingError(
                f"{recording.directory}: its trace is not there any more ({reasons[0]}); say where "
                "it is with --trace FILE"
            )
        yield found


def _places(recording: Recording, path: str) -> list[str]:
    """Return the places to look: the original path, and the same name beside the recording."""
    parts = split_reference(path)
    name = Path(path).name if parts is None else f"{parts[0].name}#{parts[1]}"
    directory = recording.directory
    return [path, str(directory / name), str(directory.parent / name)]
