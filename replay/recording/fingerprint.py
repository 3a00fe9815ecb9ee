"""The fingerprint of a recording: equal for two replays that saw the same, wherever they ran.

It covers every table byte for byte and run.json without what says where something was found rather
than what it was: the machine, the command line, the path of the trace and the plan's file and comment.
The page map is left out: earlier versions wrote none, and their replays saw the same.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from replay.recording.tables import ADDED_LATER, TABLES

_CHUNK_BYTES = 1 << 20


def hash_recording(directory: Path) -> str:
    """SHA-256 of what a recording holds, as 64 hexadecimal digits.

    Raises:
        OSError: a file of the recording cannot be read.
    """
    digest = hashlib.sha256()
    run = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    digest.update(json.dumps(_what_was_replayed(run), sort_keys=True).encode())
    for name in (*sorted(TABLES.keys() - ADDED_LATER), "episodes"):
        digest.update(f"\0{name}\0".encode())
        with (directory / f"{name}.parquet").open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _what_was_replayed(run: dict[str, Any]) -> dict[str, Any]:
    trace = {key: value for key, value in run["trace"].items() if key != "path"}
    return {key: value for key, value in run.items() if key not in ("environment", "reproduce")} | {
        "trace": trace,
        "plan": run["plan"]["rules"],
    }
