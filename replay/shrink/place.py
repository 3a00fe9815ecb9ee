"""The directory of a shrink: its lock, its journal, and what may be replaced there.

journal.jsonl   what was tried so far; `shrink` goes on from it
shrunk.json     written last: a directory that has one is finished
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replay.errors import ShrinkError
from replay.shrink.journal import JOURNAL_SCHEMA, Journal

TRACE, PLAN, TEST, RECORDING = "trace.parquet", "plan.toml", "test_shrunk.py", "recording"
DOCUMENT, JOURNAL, LOCK = "shrunk.json", "journal.jsonl", ".lock"


@contextmanager
def open_place(directory: Path, head: dict[str, Any], restart: bool) -> Iterator[Journal]:
    """Lock a directory, make it fit for this shrink, and open its journal.

    Raises:
        ShrinkError: something else is there, another shrink that is not finished, or another
            process is at work.
    """
    _check(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ShrinkError(f"{directory}: cannot write there: {problem.strerror}") from None
    with _locked(directory):
        if restart or not _is_of(directory, head):
            if not restart and not (directory / DOCUMENT).exists():
                raise ShrinkError(
                    f"{directory}: holds the unfinished shrink of something else; name another "
                    "directory, or throw it away with --restart"
                )
            _clear(directory)
        (directory / DOCUMENT).unlink(missing_ok=True)
        journal = Journal(directory / JOURNAL, head)
        try:
            yield journal
        finally:
            journal.close()


def _check(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ShrinkError(f"{directory}: is a file; shrink writes a directory, name another one")
    is_ours = any((directory / name).exists() for name in (DOCUMENT, JOURNAL, LOCK))
    if not is_ours and any(directory.iterdir()):
        raise ShrinkError(
            f"{directory}: exists and is not from `kvreplay shrink`; name another or empty it"
        )


def _is_of(directory: Path, head: dict[str, Any]) -> bool:
    """Whether there is nothing yet, or what is there is of the same shrink."""
    try:
        with (directory / JOURNAL).open(encoding="utf-8") as file:
            line = file.readline()
        if not line.endswith("\n"):
            return True
        return bool(json.loads(line) == {"schema": JOURNAL_SCHEMA} | head)
    except FileNotFoundError:
        return not (directory / DOCUMENT).exists()
    except ValueError:
        return False


def _clear(directory: Path) -> None:
    """Remove what a shrink has written, and nothing else."""
    for name in (DOCUMENT, JOURNAL, TRACE, PLAN, TEST):
        (directory / name).unlink(missing_ok=True)
    if (directory / RECORDING / "run.json").exists():
        shutil.rmtree(directory / RECORDING)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    import fcntl

    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ShrinkError(
            f"{directory}: another kvreplay is at work there; wait for it or name another directory"
        ) from None
    finally:
        os.close(descriptor)
