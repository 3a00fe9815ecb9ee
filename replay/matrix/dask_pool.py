"""The workers of a Dask cluster as a pool: one task a cell, results come home as bytes.

Nothing need be shared between the machines but traces that the matrix names by path, which must be
readable at the same path. A worker that dies has its cells run elsewhere. Dask blames every task of a
dead worker, those that only waited there included; so cells that are blamed too often run once more
at the end, each alone on the cluster, and what kills workers then has crashed.
"""

from __future__ import annotations

import concurrent.futures
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from replay.errors import MatrixError
from replay.matrix.jobs import CellJob, synthesised
from replay.matrix.pool import Ended
from replay.matrix.run_one import DrawPage, failed_document, run_cell
from replay.matrix.store import write_cell_document
from replay.recording.file_kinds import PAGE, RECORDING
from traces.dataset import open_trace
from traces.errors import TraceError
from traces.files.place import hold, scratch
from traces.files.writing import write
from traces.synthesis_options import SynthesisOptions

_CONNECT_S = 10
_FIRST_WORKER_S = 30
#: Tasks that are sent ahead for each thread of the cluster.
_AHEAD = 2
#: How often the connection is looked at while nothing ends.
_LOOK_EVERY_S = 2.0
#: A cluster all of whose workers have died, and start none again, is waited for so long.
_NO_WORKER_S = 60.0
#: A task is given up after so many budgets, and seconds: it waits for others before it begins.
_BUDGETS_MAX, _SPARE_S = 4, 60.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """A cell that is on its way."""

    key: str
    message: Mapping[str, Any]
    #: By `time.monotonic()`.
    given: float
    #: Whether nothing else is, so that it must have been this one if its workers die.
    is_alone: bool = False


class DaskPool:
    """Runs cells on the cluster of one scheduler."""

    def __init__(self, address: str, draw_page: DrawPage, *, cell_s: float | None = None) -> None:
        """Connect to nothing yet; the address reads `dask://HOST:PORT`."""
        self._name = address
        self._address = "tcp://" + address.removeprefix("dask://")
        self._draw_page = draw_page
        self._cell_s = cell_s
        self._running: dict[concurrent.futures.Future[Any], _Sent] = {}
        self._suspects: list[_Sent] = []
        self._client: Any = None
        self._executor: Any = None
        #: By `time.monotonic()`.
        self._workers_seen = time.monotonic()

    def __enter__(self) -> DaskPool:
        """Connect.

        Raises:
            MatrixError: Dask is not installed, or there is no such cluster or no worker in it.
        """
        try:
            from distributed import Client
        except ImportError:
            raise MatrixError(
                f"--executor {self._name}: Dask is not installed; install kvreplay[dask]"
            ) from None
        try:
            self._client = Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as problem:
            raise MatrixError(
                f"--executor {self._name}: no Dask scheduler answers there: {problem}"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=_FIRST_WORKER_S)
        except TimeoutError:
            self._client.close()
            raise MatrixError(
                f"--executor {self._name}: the scheduler has no worker; start some with "
                "`dask worker`"
            ) from None
        self._executor = self._client.get_executor(pure=False)
        return self

    def __exit__(self, *problem: object) -> None:
        """Cancel what runs and disconnect; the cluster lives on."""
        for future in self._running:
            future.cancel()
        self._running.clear()
        self._suspects.clear()
        self._executor.shutdown(wait=False)
        self._client.close()

    def running(self) -> int:
        """How many cells are under way or sent ahead."""
        return len(self._running) + len(self._suspects)

    def run(
        self, jobs: Iterable[tuple[str, Mapping[str, Any]]], until: float | None = None
    ) -> Iterator[Ended]:
        """Run jobs, given as key and message, and yield each as it ends; none after `until`.

        Raises:
            MatrixError: the scheduler went away, or all its workers have.
        """
        waiting = iter(jobs)
        self._workers_seen = time.monotonic()
        upcoming = next(waiting, None)
        while upcoming is not None or self._running or self._suspects:
            if until is not None and time.monotonic() >= until:
                return
            while upcoming is not None and len(self._running) < self._room():
                self._submit(*upcoming)
                upcoming = next(waiting, None)
            if self._suspects and not self._running:
                suspect = self._suspects.pop(0)
                self._submit(suspect.key, suspect.message, is_alone=True)
            ended, _ = concurrent.futures.wait(
                self._running, _LOOK_EVERY_S, concurrent.futures.FIRST_COMPLETED
            )
            # In the order in which they were sent, whichever of them ended first.
            for future in [each for each in self._running if each in ended]:
                yield from self._end(future)
            yield from self._given_up()
            if self._client.status != "running":
                raise self._gone()
            self._see_workers()

    def _see_workers(self) -> None:
        """Wait for workers that start anew, but not for ever."""
        now = time.monotonic()
        if self._threads():
            self._workers_seen = now
        elif now - self._workers_seen > _NO_WORKER_S:
            raise MatrixError(
                f"--executor {self._name}: no worker is left there for {_NO_WORKER_S:g} s; start some "
                "with `dask worker` and go on with --resume"
            )

    def _room(self) -> int:
        """How many tasks may be under way; more workers may come and go."""
        return max(1, _AHEAD * self._threads())

    def _threads(self) -> int:
        try:
            threads: int = sum(self._client.nthreads().values())
        except (OSError, TimeoutError):
            raise self._gone() from None
        return threads

    def _submit(self, key: str, message: Mapping[str, Any], is_alone: bool = False) -> None:
        # Workers have a working directory of their own.
        trace_path = str(Path(message["trace_path"]).absolute())
        task = {
            "job": {**message, "trace_path": trace_path, "cooperative_s": self._cell_s},
            "kvreplay": version("kvreplay"),
        }
        future = self._executor.submit(run_remote, self._draw_page, task)
        self._running[future] = _Sent(key, message, time.monotonic(), is_alone)

    def _end(self, future: concurrent.futures.Future[Any]) -> Iterator[Ended]:
        """What became of a cell; nothing yet if it is only one of several that may kill workers."""
        from distributed import KilledWorker

        sent = self._running.pop(future)
        key, seconds = sent.key, round(time.monotonic() - sent.given, 3)
        try:
            answer = future.result()
        except concurrent.futures.CancelledError:
            raise self._gone() from None
        except KilledWorker:
            if not sent.is_alone:
                self._suspects.append(sent)
                return
            error = "every worker that ran it died"
        except Exception as problem:
            error = f"on the worker: {type(problem).__name__}: {problem}"
        else:
            document = store_remote(Path(sent.message["cells"]), key, answer)
            yield Ended(key=key, value=document, worker=self._name, seconds=seconds)
            return
        yield Ended(key=key, state="crashed", error=error, worker=self._name, seconds=seconds)

    def _given_up(self) -> Iterator[Ended]:
        """Cells that do not even notice that their time is over."""
        if self._cell_s is None:
            return
        limit_s = self._cell_s * _BUDGETS_MAX + _SPARE_S
        now = time.monotonic()
        for future, sent in list(self._running.items()):
            if now - sent.given > limit_s:
                future.cancel()
                del self._running[future]
                error = f"took longer than its budget of {self._cell_s:g} s"
                yield Ended(
                    key=sent.key,
                    state="timed-out",
                    error=error,
                    worker=self._name,
                    seconds=round(now - sent.given, 3),
                )

    def _gone(self) -> MatrixError:
        return MatrixError(f"--executor {self._name}: the scheduler went away; go on with --resume")


_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def run_remote(draw_page: DrawPage, message: Mapping[str, Any]) -> dict[str, Any]:
    """Run a job where this is called; return its document, recording and page."""
    job = CellJob.from_message(message["job"])
    if message["kvreplay"] != version("kvreplay"):
        error = (
            f"{platform.node()} has kvreplay {version('kvreplay')}, not {message['kvreplay']}; "
            "install the same version on every worker"
        )
        return {"document": failed_document(job, "crashed", error), "recording": {}, "page": None}
    with scratch() as directory:
        try:
            path = _trace_here(job, directory / "traces")
        except (MatrixError, TraceError) as problem:
            document = failed_document(job, "crashed", str(problem))
            return {"document": document, "recording": {}, "page": None}
        # Its recording, if there is one, is not here.
        here = replace(job, trace_path=str(path), cells=str(directory), done=None)
        document = run_cell(here, draw_page)
        document["timing"]["worker"] = f"{platform.node()}:{os.getpid()}"
        recording, page = directory / job.slug, directory / f"{job.slug}.html"
        files = recording.iterdir() if recording.is_dir() else ()
        return {
            "document": document,
            "recording": {file.name: file.read_bytes() for file in files},
            "page": page.read_bytes() if page.is_file() else None,
        }


def _trace_here(job: CellJob, directory: Path) -> Path:
    """The job's trace on this machine, the same bytes as on the one that asks.

    Raises:
        MatrixError: it is not the same.
        TraceError: it cannot be read or made.
    """
    if job.trace_options is not None:
        trace = synthesised(SynthesisOptions(**job.trace_options), directory)
        found, path = trace.sha256, trace.path
    else:
        path = Path(job.trace_path)
        found = open_trace(path).sha256()
    if found != job.trace_sha256:
        raise MatrixError(
            f"{path} on {platform.node()} has other bytes than where the matrix was started "
            f"(sha256 {found[:12]}, not {job.trace_sha256[:12]}); copy it there"
        )
    return path


def store_remote(cells: Path, slug: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Put what `run_remote` gave into place, the document last; return it.

    Raises:
        MatrixError: a file's name is not one.
    """
    with hold(cells / slug, RECORDING, sweeps=False) as place:
        place.empty()
        if answer["recording"]:
            working = place.folder()
            for name, content in answer["recording"].items():
                if not _FILE_NAME.fullmatch(name):
                    raise MatrixError(f"a worker sent a file called {name!r}; is it kvreplay's?")
                write(working / name, content)
            place.put(working)
    with hold(cells / f"{slug}.html", PAGE, sweeps=False) as place:
        place.empty()
        if answer["page"] is not None:
            place.write(answer["page"])
    document: dict[str, Any] = answer["document"]
    write_cell_document(cells, slug, document)
    return document
