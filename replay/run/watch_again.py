"""Repeat the replay of a recording and watch one request or one page.

The observations are used only if the fingerprint proves that the replay is identical byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from replay.errors import RecordingError
from replay.recording.fingerprint import hash_recording
from replay.recording.owner_codes import FIRST_OWNER
from replay.recording.reader import Recording
from replay.recording.sightings import PageSighting, Sighted, Watch
from replay.run.origin import replayable

if TYPE_CHECKING:
    from replay.run.replay_once import ReplayRequest

#: Shows how far a replay has come: given the requests to come, a place to report them to.
Progress = Callable[[int], AbstractContextManager[Callable[[int], None] | None]]


def watch_again(
    recording: Recording,
    watch: Watch,
    progress: Progress,
    trace: Path | None = None,
    device: str = "auto",
) -> Sighted:
    """Repeat a replay and return the observations of the watched request or page.

    Args:
        recording: the recording to replay.
        watch: the request or the page.
        progress: reports progress.
        trace: the path of the trace, if it has moved.
        device: the device of the pools.

    Raises:
        RecordingError: the trace is missing, or this version replays it differently.
    """
    expected = _fingerprint(recording)
    with replayable(recording, trace, device) as request:
        # Loads torch: after what can be wrong.
        from replay.run.replay_once import replay
        from replay.watch.notebook import Notebook

        notebook, cycles = Notebook(watch), 1 + request.options.repeats
        with progress(request.trace.request_count * cycles) as report:
            summary = replay(request, None, report, [notebook])
        if summary["recording_sha256"] != expected:
            raise RecordingError(
                f"{recording.directory}: this version of kvreplay replays it differently "
                f"(sha256 {summary['recording_sha256'][:12]}, recorded {expected[:12]} by "
                f"kvreplay {recording.run.get('kvreplay')})"
            )
        names = _names(request, notebook.pages)
    return Sighted(tuple(notebook.states), tuple(notebook.pages), names, notebook.code)


def _fingerprint(recording: Recording) -> str:
    """Return the fingerprint of the current tables, which are shown together with the replay."""
    try:
        return hash_recording(recording.directory)
    except (OSError, KeyError, TypeError, ValueError) as problem:
        raise RecordingError(f"{recording.directory}: damaged: {problem}") from None


def _names(request: ReplayRequest, pages: list[PageSighting]) -> dict[int, str]:
    """Return the ids of all observed requests by number, reading the trace once per cycle."""
    codes = {code for seen in pages for code in (*seen.by, *seen.holders)}
    wanted = {code - FIRST_OWNER for code in codes if code >= FIRST_OWNER}
    names: dict[int, str] = {}
    count = request.trace.request_count
    places: dict[int, list[int]] = {}
    for ordinal in wanted:
        places.setdefault(ordinal % count, []).append(ordinal // count)
    left = max(places, default=-1)
    for place, row in enumerate(request.trace.iter_requests()) if places else ():
        for cycle in places.get(place, ()):
            name = row.request_id if cycle == 0 else f"{row.request_id}#{cycle}"
            names[place + cycle * count] = name
        if place >= left:
            break
    return names
