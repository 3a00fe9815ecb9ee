"""What every candidate came to, written down as it is found, so that a shrink that was cut off goes on.

One JSON line for each candidate, keyed by the hash of the case; the first line says which shrink it
is of. A line that was cut off with the process does not count.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

from replay.recording.file_kinds import SHRUNK
from traces.files.place import hold
from traces.files.writing import extend

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
