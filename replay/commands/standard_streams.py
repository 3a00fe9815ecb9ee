"""Standard streams that never change what a command comes to: closed ones, and pipes nobody reads.

A verdict's exit code is read by scripts, so a reader that goes away (`| head`) must not become one:
what it no longer reads goes nowhere, and the command ends as it would have. A disk that is full is
another matter: it is said, as bad input.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Make standard output and error such streams; a standard input that is closed stays None."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Else the next file that is opened would be printed into. The lowest free one is used.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # File names need not be text.
    sys.stdout = _text(sys.stdout, 1, "standard output")
    sys.stderr = _text(sys.stderr, 2, "")


def is_output_read() -> bool:
    """Whether anybody may still read standard output."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return not (isinstance(raw, _Output) and raw.is_lost)


class _Output(io.FileIO):
    """A descriptor that takes everything once it cannot be written any more."""

    def __init__(self, descriptor: int, called: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.is_lost = False
        self._called = called

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as problem:
            self.is_lost = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not self._called or isinstance(problem, BrokenPipeError):
                return memoryview(data).nbytes  # type: ignore[arg-type]
            raise OSError(problem.errno, problem.strerror, self._called) from None


def _text(stream: TextIO | None, descriptor: int, called: str) -> io.TextIOWrapper:
    output = io.BufferedWriter(_Output(descriptor, called))
    if not isinstance(stream, io.TextIOWrapper):
        return io.TextIOWrapper(output, "utf-8", "backslashreplace")
    return io.TextIOWrapper(
        output,
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
