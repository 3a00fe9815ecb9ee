"""The other end of `replay.matrix.workers.local_pool`: a process that does jobs until nobody gives it any."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

from replay.errors import USER_ERRORS
from replay.matrix.workers.pool import Task


def work(task: Task, connection: Connection, lifeline: Connection, holds: bool) -> None:
    """Do jobs as they come; end when the parent does, however it ends.

    With `holds` a file descriptor comes first, to be open for as long as this process lives.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        # The parent's handlers are not ours.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
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


def _die_with_parent(lifeline: Connection) -> None:
    """Wait for the parent's end of the pipe to close, which happens when it ends or is killed."""
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _use_one_thread() -> None:
    """As many workers as cores: more threads would only wait for each other."""
    import pyarrow as pa
    import torch

    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
