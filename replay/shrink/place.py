"""The directory of a shrink: its lock, what may be replaced there, and the journal of candidates.

journal.jsonl   one JSON line for each candidate that was tried; an interrupted shrink goes on from it
shrunk.json     written last: a directory that has one is finished

The first line of the journal says which shrink it is of; the others are keyed by the hash of the
case. A line that was cut off with the process does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from replay.errors import ShrinkError
from replay.recording.file_kinds import JOURNAL_FILE, PLAN_NAME, SHRUNK, SHRUNK_FILE
from traces.files.place import Place, hold, remove
from traces.files.writing import extend

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


JOURNAL_SCHEMA = "kvreplay.shrink-journal/1"


class Journal:
    """Remembers by key whether a candidate has what is wanted; in a file, if there is one."""

    def __init__(self, path: Path | None, head: dict[str, Any]) -> None:
        self._known: dict[str, bool] = {}
        self._file: IO[str] | None = None
        if path is None:
            return
        whole = self._read(path, head)
        if not whole:
            first = json.dumps({"schema": JOURNAL_SCHEMA} | head) + "\n"
            whole = len(first.encode())
            with hold(path, SHRUNK.entries[path.name]) as place:
                place.write(first)
        # Also cuts off half a line, onto which the next would be written.
        self._file = extend(path, whole)

    def _read(self, path: Path, head: dict[str, Any]) -> int:
        """Take in what an earlier process has found of the same shrink; bytes that are sound."""
        whole = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    entry = json.loads(line) if line.endswith(b"\n") else None
                    if not isinstance(entry, dict):
                        break
                    if number == 0 and entry != {"schema": JOURNAL_SCHEMA} | head:
                        return 0
                    if number:
                        self._known[entry["case"]] = bool(entry["holds"])
                    whole += len(line)
        except (FileNotFoundError, ValueError, KeyError):
            pass
        return whole

    def __len__(self) -> int:
        """Candidates that are known."""
        return len(self._known)

    def get(self, key: str) -> bool | None:
        """Whether that candidate has what is wanted; None when nobody has tried it."""
        return self._known.get(key)

    def add(self, key: str, holds: bool) -> None:
        """Remember a candidate."""
        self._known[key] = holds
        self._write({"case": key, "holds": holds})

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            # Handed to the system at once: a killed process loses none.
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
