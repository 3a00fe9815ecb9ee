"""Run the job of one cell: replay, judge, store. What a worker does, in whatever process it lives.

The recording is put in place first, then its page, and the cell's document last: a cell whose
document is there is done.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import current_process
from pathlib import Path
from typing import Any

from replay.errors import USER_ERRORS, CellTimeoutError, RecordingError
from replay.matrix.expectations import judge_cell
from replay.matrix.jobs import CellJob
from replay.matrix.pool import Ended
from replay.matrix.store import CELL_SCHEMA, write_cell_document
from replay.recording.file_kinds import PAGE, RECORDING
from replay.recording.reader import Recording
from replay.recording.words import equation
from replay.run.matrix_axes import topology_of
from traces.errors import OutputError
from traces.files.place import hold, remove

#: Draws the report of a recording: (recording, page, title, whether with charts). Whoever starts a
#: matrix hands it in, as a function that workers can import: `reports` knows `replay`.
DrawPage = Callable[[Path, Path, str, bool], None]


def run_message(draw_page: DrawPage, message: Mapping[str, Any]) -> dict[str, Any]:
    """Run a job given as plain data and return its document as plain data."""
    return run_cell(CellJob.from_message(message), draw_page)


def run_cell(job: CellJob, draw_page: DrawPage) -> dict[str, Any]:
    """Replay one cell, keep what is to be kept, and store and return its document.

    Whatever goes wrong with the cell is its result, not an error of the caller.

    Raises:
        OutputError: the disk is full or takes nothing: no cell's fault, and of the next
            one neither.
    """
    if job.done is not None and (document := _with_page(job, job.done, draw_page)) is not None:
        return document
    started = time.perf_counter()
    recording, page = _places(job)
    _remove(recording, page)
    try:
        summary, facts = _replay(job, recording)
        document = finished_document(job, facts, summary["timing"]["replay_s"])
        is_expected = judge_cell(document, job.expectation).outcome == "passed"
        if job.wants(job.reports, is_expected):
            draw_page(recording, page, job.name, not is_expected)
            document["charts"] = not is_expected
        if not job.wants(job.keep, is_expected):
            remove(recording, RECORDING)
    except MemoryError:
        document = failed_document(job, "out-of-memory", "the process had no memory left")
    except CellTimeoutError as problem:
        document = failed_document(job, "timed-out", str(problem))
    except Exception as problem:
        if _is_of_the_disk(problem):
            raise
        document = failed_document(job, "crashed", _explained(problem))
    if document["state"] != "finished":
        _remove(recording, page)
    document["timing"]["cell_s"] = round(time.perf_counter() - started, 3)
    write_cell_document(Path(job.cells), job.slug, document)
    return document


def _places(job: CellJob) -> tuple[Path, Path]:
    """Where its recording and its page are."""
    return Path(job.cells) / job.slug, Path(job.cells) / f"{job.slug}.html"


def _with_page(job: CellJob, done: Mapping[str, Any], draw_page: DrawPage) -> dict[str, Any] | None:
    """The document of a done cell whose page is drawn now; None if its recording is not good."""
    recording, page = _places(job)
    charts = judge_cell(done, job.expectation).outcome != "passed"
    try:
        draw_page(recording, page, job.name, charts)
    except (OutputError, RecordingError) as problem:
        if _is_of_the_disk(problem):
            raise
        return None
    document = {**done, "charts": charts}
    write_cell_document(Path(job.cells), job.slug, document)
    return document


def _replay(job: CellJob, recording: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from replay.run.replay_once import replay

    request = job.options.to_request(
        job.device, trace_path=Path(job.trace_path), plan=job.make_plan()
    )
    with hold(recording, RECORDING, sweeps=False) as place:
        summary = replay(request, place, _deadline(job.cooperative_s))
    return summary, facts_of(recording, summary)


def _deadline(budget_s: float | None) -> Callable[[int], None] | None:
    """A progress callback that ends a replay which has used up its time."""
    if budget_s is None:
        return None
    end = time.monotonic() + budget_s

    def check(_advance: int) -> None:
        if time.monotonic() > end:
            raise CellTimeoutError(f"took longer than its budget of {budget_s:g} s")

    return check


def finished_document(
    job: CellJob, facts: Mapping[str, Any], replay_s: float | None
) -> dict[str, Any]:
    """What is stored of a cell that has a verdict."""
    document = _document(job, "finished", None)
    document["facts"] = dict(facts)
    document["timing"]["replay_s"] = replay_s
    return document


def failed_document(job: CellJob, state: str, error: str) -> dict[str, Any]:
    """What is stored of a cell that was timed-out, out-of-memory or crashed."""
    return _document(job, state, error)


def cut_off_document(ended: Ended, job: CellJob) -> dict[str, Any]:
    """The document of a cell whose worker could not write it."""
    document = failed_document(job, ended.state, ended.error)
    document["timing"] |= {"cell_s": ended.seconds, "worker": ended.worker}
    return document


def _document(job: CellJob, state: str, error: str | None) -> dict[str, Any]:
    return {
        "schema": CELL_SCHEMA,
        "cell": job.name,
        "fingerprint": job.fingerprint,
        "state": state,
        "error": error,
        "facts": None,
        "charts": None,
        "reproduce": job.options.command_line(),
        "timing": {"replay_s": None, "cell_s": None, "worker": current_process().name},
    }


_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def _is_of_the_disk(problem: Exception) -> bool:
    return any(
        isinstance(each, OSError) and each.errno in _OF_THE_DISK
        for each in (problem, problem.__cause__, problem.__context__)
    )


def _explained(problem: Exception) -> str:
    """One sentence; of what is no user error, also where it came up."""
    if isinstance(problem, USER_ERRORS):
        return str(problem)
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(problem).__name__}: {problem}{where}"


def _remove(recording: Path, page: Path) -> None:
    remove(recording, RECORDING)
    remove(page, PAGE)


def facts_of(directory: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of one recording, as plain data that does not depend on the host."""
    recording = Recording.open(directory)
    episodes = recording.table("episodes").to_pylist()
    mismatch, faults, requests = summary["mismatch"], summary["faults"], summary["requests"]
    closed = [
        each["closed_us"] - each["opened_us"] for each in episodes if each["closed_us"] is not None
    ]
    return {
        "verdict": summary["verdict"],
        "why": summary["why"],
        "growth": summary["growth"],
        "kinds": dict(summary["kinds"]),
        "mismatch": mismatch,
        "equation": None if mismatch is None else equation(mismatch),
        "gap_tokens_max": max((abs(each["gap_tokens"]) for each in episodes), default=0),
        "heal_us_max": max(closed, default=None),
        "engine_message": summary["engine_message"],
        "engine_check_fired": summary["engine_check_fired"],
        "engine_died_message": summary["engine_died_message"],
        "episodes": summary["episodes"],
        "episodes_open": summary["episodes_open"],
        "faults_planned": faults["planned"],
        "faults_landed": faults["landed"],
        "faults_observed": faults["observed"],
        "rules_never_fired": faults["rules_never_fired"],
        "rules_without_effect": faults["rules_without_effect"],
        "requests": {key: requests[key] for key in _REQUESTS},
        "audits": summary["audits"],
        "virtual_us": summary["virtual_us"],
        "topology": topology_of(recording.run["profile"]),
        "recording_sha256": summary["recording_sha256"],
    }


_REQUESTS = ("total", "finished", "aborted", "failed", "stuck")
