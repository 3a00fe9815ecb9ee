"""One number for a recording: equal when two replays saw the same, wherever and whenever they ran."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

#: What depends on the host or the clock, or on this hash, and is left out.
_LEFT_OUT = {
    "run.json": ("environment",),
    "summary.json": ("timing", "recording_sha256"),
}


def recording_sha256(directory: Path) -> str:
    """The SHA-256, in hexadecimal, of a recording's files in order of their names."""
    whole = hashlib.sha256()
    for path in sorted(directory.iterdir(), key=lambda each: each.name):
        content = path.read_bytes()
        if path.name in _LEFT_OUT:
            document = json.loads(content)
            for key in _LEFT_OUT[path.name]:
                document.pop(key, None)
            content = json.dumps(document, sort_keys=True).encode()
        whole.update(f"{path.name} {len(content)}\n".encode())
        whole.update(content)
    return whole.hexdigest()
