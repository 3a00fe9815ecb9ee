"""From a recording back to the replay that made it: trace, profile, plan, seed and options.

run.json holds all that a replay depends on but the requests themselves, which are looked for by the
trace's path and known by its SHA-256. What a swarm drew stands in run.json as it was drawn, so nothing
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
    """The request that made a recording; a trace that has to be made lives as long as the block.

    Args:
        recording: what is to be replayed.
        trace: where the trace is now, if it is no longer where it was.
        device: where the pools live; the recording is the same everywhere.

    Raises:
        RecordingError: the trace is gone or is another one by now, run.json is damaged, or the
            recording was made with a user's allocator, which it does not hold.
    """
    run, where = recording.run, f"{recording.directory}/run.json"
    if (allocator := run.get("environment", {}).get("allocator")) is not None:
        raise RecordingError(
            f"{where}: was made with the allocator {allocator}, which a recording does not hold"
        )
    try:
        profile, plan = read_profile(run["profile"]), read_plan(run["plan"])
        swarm = _read_swarm(run["swarm"], plan)
        line, name = str(run["reproduce"]), str(run["trace"]["path"])
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        words = str(problem) if isinstance(problem, ProfileError) else repr(problem)
        raise _of_another_version(where, words) from None
    with find_trace(recording, trace) as found:
        # These load torch, which reading a recording and missing its trace do without.
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
    """The profile that `EngineProfile.to_dict` gave, before or after JSON.

    Raises:
        ProfileError: a value is out of range.
        TypeError: it has a field that this version does not have.
    """
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
    return EngineProfile(**fields)


def read_plan(document: Mapping[str, Any]) -> FaultPlan:
    """The plan that run.json holds.

    Raises:
        KeyError, TypeError, ValueError: it is not one of this version.
    """
    rules = tuple(read_rule(rule) for rule in document["rules"])
    if unknown := {rule.fault for rule in rules} - KINDS.keys():
        raise ValueError(f"there is no fault {min(unknown)!r}")
    return FaultPlan(rules, document["comment"], document["source"])


def _read_swarm(document: Mapping[str, Any] | None, plan: FaultPlan) -> Swarm | None:
    """What was drawn: the plan has the rules of it, by name."""
    if document is None:
        return None
    named = {rule.name: rule for rule in plan.rules}
    rules = tuple(named[name] for name in document["rules"])
    return Swarm(dict(document["settings"]), FaultPlan(rules))


@contextmanager
def find_trace(recording: Recording, given: Path | None) -> Iterator[Trace]:
    """The trace that was replayed, wherever it is now.

    Raises:
        RecordingError: it is in none of the places, or has changed.
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
    """Where to look: as it was named, and under the same name beside the recording."""
    parts = split_reference(path)
    name = Path(path).name if parts is None else f"{parts[0].name}#{parts[1]}"
    directory = recording.directory
    return [path, str(directory / name), str(directory.parent / name)]
