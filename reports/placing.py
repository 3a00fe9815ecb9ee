"""Puts several files into place together: all of them once all are written, or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from replay.errors import RecordingError


@contextmanager
def placed_together(outputs: Sequence[Path]) -> Iterator[list[Path]]:
    """Files to write to, one beside each output; they get their names when all went well.

    Folders are made as needed, and go again when nothing comes of it.

    Raises:
        RecordingError: a folder or a file cannot be written.
    """
    working: list[Path] = []
    made: list[Path] = []
    try:
        for output in outputs:
            made += _make_folders(output)
            working.append(_beside(output))
        yield working
        for path in working:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o644)
        for path, output in zip(working, outputs, strict=True):
            path.replace(output)
        made.clear()
    except OSError as problem:
        where = outputs[min(len(working), len(outputs) - 1)]
        raise RecordingError(
            f"{where}: cannot write the report there: {problem.strerror or problem}"
        ) from None
    finally:
        for path in working:
            path.unlink(missing_ok=True)
        for folder in reversed(made):
            # One that something was put into, such as an output before the one that failed, stays.
            with suppress(OSError):
                folder.rmdir()


def _make_folders(output: Path) -> list[Path]:
    """Make the folders that are missing, and name them, the outermost first."""
    missing = [folder for folder in output.parents if not folder.exists()]
    output.parent.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _beside(output: Path) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{output.name[:80]}-", dir=output.parent)
    os.close(descriptor)
    return Path(name)
