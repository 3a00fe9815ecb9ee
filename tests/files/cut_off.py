"""A process from which others are forked that run one command line and are cut off at a given step.

    python cut_off.py  <--stdin-- one JSON line for each run   --stdout--> one JSON line for each

It imports what its forks have had to import, so that the next find it there, but runs nothing, so that
each fork has one thread. A step is whatever changes a file system: audit events of Python, and what has
none, wrapped.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import weakref
from pathlib import Path

import pytest
from file_helpers import use_drawn, use_small_ways

import replay.cli
import replay.shrink.place
import traces.files.place
import traces.files.writing
import traces.formats.pipeline
from traces.files.locks import let_go
from traces.sorting import ArrivalSorter

TIMEOUT_S = 120.0
#: What takes no room.
_FREEING = ("remove", "rmdir", "chmod", "ftruncate")


class Steps:
    """Counts what the command does to files, and cuts it off before one step, or in it.

    Or it goes on, and what is on the disk before some steps, or in the middle of them, is copied: the
    same as a process leaves that is killed there.
    """

    def __init__(self, root: str, act: str | None, at: int, kept: dict | None) -> None:
        self.root, self.act, self.at = root, act, at
        kept = kept or {"into": "", "before": [], "within": []}
        self.into, self._before, self._within = Path(kept["into"]), kept["before"], kept["within"]
        self.names: list[str] = []
        self.is_full = False

    def step(self, name: str, path: object = None) -> bool:
        """One more step; whether it is to be cut off half-way."""
        where = os.fspath(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        where = os.path.relpath(os.fsdecode(where), self.root) if where else ""
        self.names.append(f"{name} {where}".strip())
        is_now = len(self.names) == self.at
        if len(self.names) in self._before:
            self.keep()
        if is_now and self.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if is_now and self.act == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if is_now and self.act == "interrupt":
            raise KeyboardInterrupt
        if self.act == "full":
            self.is_full |= is_now
            if (is_now and name not in _FREEING) or (
                self.is_full and name not in (*_FREEING, "rename")
            ):
                named = os.path.join(self.root, where) if where else None  # noqa: PTH118
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), named)
        return (is_now and self.act == "half") or len(self.names) in self._within

    def keep(self) -> None:
        """Copy what is on the disk."""
        shutil.copytree(self.root, self.into / str(len(self.names)), symlinks=True)

    def end_half_way(self) -> None:
        """Half of it is on the disk: die, or let the other half be written."""
        if self.act == "half":
            os.kill(os.getpid(), signal.SIGKILL)
        self.keep()

    def audit(self, event: str, args: tuple) -> None:
        if event == "open":
            path, mode, flags = args
            is_write = any(each in (mode or "") for each in "wxa+")
            flags = flags if isinstance(flags, int) else 0
            if is_write or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._seen("open", path, -1)
        elif event in ("os.mkdir", "os.chmod"):
            self._seen(event[3:], args[0], args[2])
        elif event in ("os.remove", "os.rmdir"):
            self._seen(event[3:], args[0], args[1])
        elif event == "os.rename":
            self._seen("rename", args[1], args[3])

    def _seen(self, name: str, path: object, folder: int) -> None:
        if isinstance(path, int):
            return
        text = os.fsdecode(path)
        if folder != -1:
            self.step(name)
        elif os.path.abspath(text).startswith(f"{self.root}/"):  # noqa: PTH100
            self.step(name, os.path.abspath(text))  # noqa: PTH100


def path_of(descriptor: int) -> str | None:
    """What an open file is called, where the system can tell."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return None


def put_in_place(steps: Steps, patch: pytest.MonkeyPatch, has_exchange: bool) -> None:
    """Have everything that changes a file system be a step."""

    def wrapped(owner: object, name: str, called: str, has_descriptor: bool = False) -> None:
        real = getattr(owner, name)

        def with_step(*args: object) -> object:
            steps.step(called, path_of(args[0]) if has_descriptor else args[-2])
            return real(*args)

        patch.setattr(owner, name, with_step)

    for name in ("fsync", "ftruncate", "pwrite"):
        wrapped(os, name, name, has_descriptor=True)
    if has_exchange:
        wrapped(traces.files.place, "_renameat2", "rename")
    else:
        patch.setattr(traces.files.place, "_renameat2", lambda *_: False)

    real_write = traces.files.writing._WorkingFile.write

    def write(self: io.FileIO, data: bytes) -> int:
        if steps.step("write", self.name):
            start = self.tell()
            io.FileIO.write(self, bytes(data)[: len(data) // 2])
            steps.end_half_way()
            self.seek(start)
            self.truncate()
        return real_write(self, data)

    patch.setattr(traces.files.writing._WorkingFile, "write", write)

    real_note = replay.shrink.place.Journal._write

    def note(self: object, entry: dict) -> None:
        if self._file is not None and steps.step("write", "journal"):
            start = self._file.tell()
            self._file.write(json.dumps(entry)[:20])
            self._file.flush()
            steps.end_half_way()
            self._file.seek(start)
            self._file.truncate()
        real_note(self, entry)

    patch.setattr(replay.shrink.place.Journal, "_write", note)
    sys.addaudithook(steps.audit)


def command_line(words: list[str]) -> int:
    """What the program does, signals and all."""
    sys.argv[1:] = words
    try:
        replay.cli.main()
    except SystemExit as end:
        return end.code


def child(order: dict, told: Path) -> int:
    """Run one command line as ordered; its exit code."""
    root, before = order["cwd"], set(sys.modules)
    os.chdir(root)
    output = os.open(f"{told}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    errors = os.open(f"{told}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    tempfile.tempdir = f"{root}/tmp"
    os.umask(order.get("umask", 0o022))
    patch = pytest.MonkeyPatch()
    use_small_ways(patch)
    use_drawn(patch, Path(order["museum"]))
    if order.get("spills"):
        real = ArrivalSorter.__init__
        patch.setattr(ArrivalSorter, "__init__", lambda self, folder, *_: real(self, folder, 2000))
        patch.setattr(traces.formats.pipeline, "_BATCH_ROWS", 8)
    steps = Steps(root, order.get("act"), order.get("at", 0), order.get("keep"))
    put_in_place(steps, patch, order.get("has_exchange", True))
    code = command_line(order["words"])
    for end in list(weakref.finalize._registry):
        # As at the end of a process, but for what is its parent's.
        if (alive := end.peek()) is not None and alive[1] is let_go:
            end()
    with open(f"{told}.end", "w") as file:  # noqa: PTH123
        json.dump({"steps": steps.names, "imported": sorted(sys.modules.keys() - before)}, file)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run(order: dict, told: Path) -> int:
    """Fork a process that runs a command line."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = child(order, told)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


def ended(pid: int, told: Path) -> dict:
    """Wait for a process and say how it ended, or that it has stopped."""
    deadline = time.monotonic() + TIMEOUT_S
    pause_s = 0.0005
    while not (found := os.waitpid(pid, os.WNOHANG | os.WUNTRACED))[0]:
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.01)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
    status = found[1]
    if os.WIFSTOPPED(status):
        return {"pid": pid, "has_stopped": True}
    end, errors = Path(f"{told}.end"), Path(f"{told}.err")
    found = json.loads(end.read_text()) if end.exists() else {}
    for name in found.get("imported", ()):
        # Some are made while another is imported, and have no file.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return {
        "pid": pid,
        "code": os.waitstatus_to_exitcode(status),
        "err": errors.read_text() if errors.exists() else "",
        "steps": found.get("steps"),
    }


def main() -> None:
    import torch

    torch.set_num_threads(1)
    print(json.dumps({"is_ready": True}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        told: dict[int, Path] = {}
        for number, line in enumerate(sys.stdin):
            order = json.loads(line)
            if "finish" in order:
                pid = order["finish"]
                for each in order["signals"]:
                    os.kill(pid, each)
            else:
                path = Path(folder, str(number))
                pid = run(order, path)
                told[pid] = path
            print(json.dumps(ended(pid, told[pid])), flush=True)


if __name__ == "__main__":
    main()
