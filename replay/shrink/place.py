"""The directory of a shrink: its lock, its journal, and what may be replaced there.

journal.jsonl   what was tried so far; `shrink` goes on from it
shrunk.json     written last: a directory that has one is finished
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replay.errors import ShrinkError
from replay.recording.file_kinds import JOURNAL_FILE, PLAN_NAME, SHRUNK, SHRUNK_FILE
from replay.shrink.journal import JOURNAL_SCHEMA, Journal
from traces.files.place import Place, hold, remove

TRACE, TEST, RECORDING = "trace.parquet", "test_shrunk.py", "recording"


@contextmanager
def open_place(
    directory: Path, head: dict[str, Any], restart: bool, reads: Sequence[Path] = ()
) -> Iterator[tuple[Place, Journal]]:
    """Hold a directory, make it fit for this shrink, and open its journal.

    Raises:
        ShrinkError: another shrink is there.
        OutputError: something else is there, or another process is at work.
    """
    with hold(directory, SHRUNK, reads=reads, makes_folders=True, inside=True) as place:
        is_same = _is_of(place.path, head)
        if not is_same and not restart:
            raise ShrinkError(
                f"{directory}: holds the shrink of something else; name another directory, or throw "
                "it away with --restart"
            )
        if not is_same or restart:
            _clear(place.path)
        journal = Journal(place.path / JOURNAL_FILE, head)
        try:
            remove(place.path / SHRUNK_FILE, SHRUNK.entries[SHRUNK_FILE])
            yield place, journal
        finally:
            journal.close()


def _is_of(directory: Path, head: dict[str, Any]) -> bool:
    """Whether there is nothing yet, or what is there is of the same shrink."""
    try:
        with (directory / JOURNAL_FILE).open(encoding="utf-8") as file:
            line = file.readline()
        if not line.endswith("\n"):
            return True
        return bool(json.loads(line) == {"schema": JOURNAL_SCHEMA} | head)
    except FileNotFoundError:
        return not (directory / SHRUNK_FILE).exists()
    except ValueError:
        return False


def _clear(directory: Path) -> None:
    """Remove what a shrink has written: first what says that it is finished, last whose it is."""
    for name in (SHRUNK_FILE, TRACE, PLAN_NAME, TEST, RECORDING, JOURNAL_FILE):
        remove(directory / name, SHRUNK.entries[name])
