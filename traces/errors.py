"""Errors about traces and output files. `replay.errors` shows the whole exception tree."""


class TraceError(ValueError):
    """A trace, or a log to import as one, cannot be used.

    The message is one sentence: the file, the column, row or line, the problem, and how to
    fix it.
    """


def first_line(problem: BaseException) -> str:
    """Return the first line of an exception's message, as a part of a sentence."""
    return (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")


def unreadable(path: object, problem: BaseException) -> TraceError:
    """Return the error of a file whose bytes cannot be read."""
    reason = getattr(problem, "strerror", None) or first_line(problem)
    return TraceError(f"{path}: cannot be read ({reason}); check the path and its permissions")


class OutputError(ValueError):
    """An output cannot be written, was not made by kvreplay, or is in use by another process."""
