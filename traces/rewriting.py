"""What the verbs that turn one trace into another share."""

from __future__ import annotations

from pathlib import Path

from traces.errors import TraceError


def refuse_overwriting(output: Path, source: Path, what: str = "the trace being read") -> None:
    """Make sure that writing `output` cannot replace `source`, whatever links lead to it.

    Args:
        output: file to make; it need not exist.
        source: file that must survive.
        what: what the message calls `source`.

    Raises:
        TraceError: both are one file: same path, symbolic link or hard link.
    """
    try:
        is_same = output.samefile(source)
    except (OSError, ValueError):
        # A file that is missing or out of reach is reported by whoever opens it.
        return
    if is_same:
        raise TraceError(f"{output}: is {what} ({source}); write to another file")
