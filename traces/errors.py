"""What can be wrong with a trace. The whole exception tree is drawn in `replay.errors`."""


class TraceError(ValueError):
    """A trace, or a log to import as one, cannot be used.

    The message is one sentence: which file, which column, row or line, what is wrong there,
    and how to mend it.
    """


def first_line(problem: BaseException) -> str:
    """Return the first line of an exception's message, as a part of a sentence."""
    return (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")


def unreadable(path: object, problem: BaseException) -> TraceError:
    """Return the error of a file whose bytes cannot be read."""
    reason = getattr(problem, "strerror", None) or first_line(problem)
    return TraceError(f"{path}: cannot be read ({reason}); check the path and its permissions")


class OutputError(ValueError):
    """A file or folder cannot be written, holds what is not kvreplay's, or is another process's."""
