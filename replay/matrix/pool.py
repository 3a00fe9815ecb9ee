"""What runs the jobs of a matrix, and a pool of processes on this machine.

    parent --job, as JSON-->  worker 1     one pipe each; the parent waits on all at once
           <--result-------   worker 2     a worker that dies or is ended is replaced

A crash, a hang or too much memory is the result of the one job; the others go on. That is why this
is neither `concurrent.futures`, which breaks as a whole when a process dies, nor `pebble`: see
"Workers of a matrix" in docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any, Protocol

from replay.errors import USER_ERRORS, MatrixError, ReplayError

#: Does one job, given and returned as plain data; a function that workers can import, or a
#: `functools.partial` of such functions.
Task = Callable[[Mapping[str, Any]], dict[str, Any]]


#: Imported by the fork server before it forks workers.
_PRELOADED = f"{__package__}.preloaded"
#: How often the memory of workers is looked at.
_LOOK_EVERY_S = 0.2
_START_S_MAX = 300.0
_KILL_S_MAX = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one job ended: with a value, or as `timed-out`, `out-of-memory` or `crashed`."""

    key: str
    value: dict[str, Any] | None = None
    state: str = "finished"
    error: str = ""
    worker: str
    seconds: float


class Pool(Protocol):
    """Runs jobs; entered before the first, left after the last or in haste."""

    def __enter__(self) -> Pool:
        """Be ready to run."""

    def __exit__(self, *problem: object) -> None:
        """Let go of everything that runs."""

    def run(
        self, jobs: Iterable[tuple[str, Mapping[str, Any]]], until: float | None = None
    ) -> Iterator[Ended]:
        """Run jobs, given as key and message, taken as there is room; yield each as it ends.

        At `until`, a time of `time.monotonic()`, all is over, whatever is under way.
        """

    def running(self) -> int:
        """How many jobs are under way."""


def core_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare() -> None:
    """Begin to import what workers need, in the background; costs the caller nothing."""
    _forkserver().set_forkserver_preload([_PRELOADED])
    with _one_thread_each(), _without_interrupts():
        forkserver.ensure_running()


def _forkserver() -> Any:
    return multiprocessing.get_context("forkserver")


@dataclass(slots=True)
class _Worker:
    """A process and the job that it has."""

    name: str
    process: BaseProcess
    connection: Connection
    started: float
    is_ready: bool = False
    key: str | None = None
    given: float = 0.0


class LocalPool:
    """A number of workers, each of which does one job at a time."""

    def __init__(
        self,
        task: Task,
        jobs: int,
        *,
        cell_s: float | None = None,
        memory_bytes: int | None = None,
        keep_open: int | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            task: what does a job.
            jobs: how many workers.
            cell_s: seconds after which a job is ended.
            memory_bytes: resident bytes of a worker at which its job is ended.
            keep_open: a file descriptor that workers hold while they live.
        """
        self._task, self._jobs = task, jobs
        self._cell_s, self._memory_bytes = cell_s, memory_bytes
        self._keep_open = keep_open
        self._workers: list[_Worker] = []
        self._names = iter(range(10**9))

    def __enter__(self) -> LocalPool:
        """Begin to import what workers need."""
        prepare()
        return self

    def __exit__(self, *problem: object) -> None:
        """Kill every worker, however impatient the user is."""
        with _without_interrupts():
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                _kill(worker)
            self._workers.clear()

    def running(self) -> int:
        """How many jobs are under way."""
        return sum(worker.key is not None for worker in self._workers)

    def run(
        self, jobs: Iterable[tuple[str, Mapping[str, Any]]], until: float | None = None
    ) -> Iterator[Ended]:
        """Run jobs, given as key and message, and yield each as it ends; none after `until`.

        Raises:
            ReplayError: a worker cannot start.
            MatrixError: the result of a job could not be kept.
        """
        waiting = iter(jobs)
        upcoming = next(waiting, None)
        while upcoming is not None or self.running():
            if until is not None and time.monotonic() >= until:
                return
            while upcoming is not None and len(self._workers) < self._jobs:
                self._workers.append(self._start())
            for worker in self._workers:
                if upcoming is not None and worker.is_ready and worker.key is None:
                    self._give(worker, *upcoming)
                    upcoming = next(waiting, None)
            yield from self._ended(until)

    def _start(self) -> _Worker:
        here, there = multiprocessing.Pipe()
        name = f"local-{next(self._names)}"
        holds = self._keep_open is not None
        process = _forkserver().Process(
            target=_work, args=(self._task, there, holds), name=name, daemon=True
        )
        with _one_thread_each(), _without_interrupts():
            process.start()
            if self._keep_open is not None:
                # Through the pipe: what a worker is killed before taking goes with the pipe.
                with contextlib.suppress(OSError):
                    send_handle(here, self._keep_open, process.pid)
        there.close()
        return _Worker(name, process, here, time.monotonic())

    def _give(self, worker: _Worker, key: str, message: Mapping[str, Any]) -> None:
        worker.key, worker.given = key, time.monotonic()
        # A worker that has just died is found out when its end is.
        with contextlib.suppress(OSError):
            worker.connection.send_bytes(json.dumps(message).encode())

    def _ended(self, until: float | None) -> Iterator[Ended]:
        """Wait until something happens and yield the jobs that ended."""
        by_source = {worker.connection: worker for worker in self._workers}
        for source in wait(list(by_source), self._patience_s(until)):
            worker = by_source[source]  # type: ignore[index]
            try:
                answer = json.loads(worker.connection.recv_bytes())
            except (EOFError, OSError):
                yield from self._died(worker)
                continue
            if not worker.is_ready:
                worker.is_ready = True
                continue
            if "problem" in answer:
                raise MatrixError(
                    f"{worker.key}: cannot be kept: {answer['problem']}; go on with --resume"
                )
            yield self._end(worker, value=answer["value"])
        yield from self._over_budget()

    def _patience_s(self, until: float | None) -> float | None:
        now = time.monotonic()
        limits = [
            worker.given + self._cell_s - now
            for worker in self._workers
            if worker.key is not None and self._cell_s is not None
        ]
        limits += [each.started + _START_S_MAX - now for each in self._workers if not each.is_ready]
        limits += [_LOOK_EVERY_S] if self._memory_bytes is not None else []
        limits += [until - now] if until is not None else []
        return max(0.0, min(limits)) if limits else None

    def _end(self, worker: _Worker, **result: Any) -> Ended:
        assert worker.key is not None
        ended = Ended(
            key=worker.key,
            worker=worker.name,
            seconds=round(time.monotonic() - worker.given, 3),
            **result,
        )
        worker.key = None
        return ended

    def _died(self, worker: _Worker) -> Iterator[Ended]:
        """A worker is gone without having been told to go."""
        reason = _cause_of_death(worker)
        _kill(worker)
        self._workers.remove(worker)
        if not worker.is_ready:
            raise ReplayError(f"a worker of the matrix could not start: it {reason}")
        if worker.key is not None:
            yield self._end(worker, state="crashed", error=f"the process {reason}")

    def _over_budget(self) -> Iterator[Ended]:
        """End the jobs that have used up their time or memory."""
        now = time.monotonic()
        for worker in list(self._workers):
            if not worker.is_ready and now - worker.started > _START_S_MAX:
                raise ReplayError(f"a worker of the matrix did not start in {_START_S_MAX:g} s")
            if worker.key is None:
                continue
            state, error = "", ""
            if self._cell_s is not None and now - worker.given >= self._cell_s:
                state = "timed-out"
                error = f"took longer than its budget of {self._cell_s:g} s"
            elif self._memory_bytes is not None and _resident_bytes(worker) > self._memory_bytes:
                state = "out-of-memory"
                error = f"took more memory than its budget of {self._memory_bytes // 2**20} MB"
            if state:
                _kill(worker)
                self._workers.remove(worker)
                yield self._end(worker, state=state, error=error)


def _resident_bytes(worker: _Worker) -> int:
    """Resident bytes of a worker; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _kill(worker: _Worker) -> None:
    """End a worker, whatever it does."""
    worker.process.kill()
    worker.process.join(_KILL_S_MAX)
    worker.connection.close()


def _cause_of_death(worker: _Worker) -> str:
    """How a worker ended whose pipe has closed, in words."""
    # The pipe closes a moment before the process is gone.
    worker.process.join(_KILL_S_MAX)
    code = worker.process.exitcode
    if code is None:
        return "closed its pipe and lives on"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Have libraries that ask the environment when they load start no threads of their own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Have processes that start here never see Ctrl-C: this one sees it and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(task: Task, connection: Connection, holds: bool) -> None:
    """The other end of the pipe: do jobs as they come; end when the parent does, however it ends.

    With `holds` a file descriptor comes first, to be open for as long as this process lives.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        # The parent's handlers are not ours.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if holds:
        recv_handle(connection)
    _use_one_thread()
    try:
        connection.send_bytes(b'"ready"')
        while True:
            message = json.loads(connection.recv_bytes())
            connection.send_bytes(json.dumps(_answer(task, message)).encode())
    except (EOFError, BrokenPipeError):
        return


def _answer(task: Task, message: Mapping[str, Any]) -> dict[str, Any]:
    """What a job came to; or why it came to nothing, which is no job's own fault."""
    try:
        return {"value": task(message)}
    except Exception as problem:
        told = (
            str(problem)
            if isinstance(problem, USER_ERRORS)
            else f"{type(problem).__name__}: {problem}"
        )
        return {"problem": told}


def _die_with_parent() -> None:
    """Wait for the parent's end, which this process sees however that comes about."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _use_one_thread() -> None:
    """As many workers as cores: more threads would only wait for each other."""
    import pyarrow as pa
    import torch

    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
