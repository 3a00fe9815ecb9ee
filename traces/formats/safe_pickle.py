"""A reader of pickles that cannot execute code: it builds plain data, and inert records by name.

A pickle is a program for a stack machine, and Python's own machine imports and calls everything
that the program names. This machine neither imports nor calls. It builds None, booleans, numbers,
text, bytes, lists, tuples, dicts, sets and frozensets. A class or function named by the program
either is allowed by the caller, and becomes a `Record` that only stores the state it is given, or
is refused by name. Extension codes, persistent ids and out-of-band buffers are refused.

Memory and time are bounded by the size of the data and by `MEMORY_BYTES_MAX`: sizes claimed by a
pickle are checked against the data before anything is allocated, the memo is a dict (so a large
index does not allocate memory), and keys of dicts and sets are only text, bytes and small integers
(hashing nested tuples with shared parts takes exponential time). The result may still share parts
or contain itself: the caller must not compare, copy or print it as a whole.

    safe_pickle   the loop       safe_pickle_machine   the stack, the memo, the bytes and the
    opcodes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traces.errors import TraceError
from traces.formats.safe_pickle_machine import (
    COST_BYTES,
    MEMORY_BYTES_MAX,
    OPERATIONS,
    REFUSED_CODES,
    STOP,
    CorruptError,
    Machine,
    Record,
)


def load_plain(data: bytes | bytearray, place: str, is_allowed: Callable[[str, str], bool]) -> Any:
    """Return the content of a pickle.

    Args:
        data: the complete pickle.
        place: the file, for messages.
        is_allowed: whether a module and a name are allowed; they become inert records.

    Raises:
        TraceError: the pickle has another name in it, or is damaged or too large.
    """
    machine = Machine(data, place, is_allowed)
    try:
        return _run(machine)
    except TraceError:
        raise
    except CorruptError as problem:
        reason = str(problem)
    except (LookupError, ValueError):
        # The stack or the memo lacks an operand, or a text is invalid.
        reason = "it does not follow the rules of pickles"
    except MemoryError:
        reason = "it does not fit into memory"
    raise TraceError(
        f"{place}: is not a readable pickle ({reason} at byte {machine.at}); it is truncated "
        "or damaged, copy it again"
    )


def _run(machine: Machine) -> Any:
    data, size = machine.data, len(machine.data)
    while machine.at < size:
        code = data[machine.at]
        machine.at += 1
        if code == STOP:
            if machine.at < size:
                raise CorruptError(f"{size - machine.at} bytes follow its end")
            if len(machine.stack) != 1 or machine.marked:
                raise CorruptError("its end leaves something unfinished")
            return machine.stack[0]
        operation = OPERATIONS.get(code)
        if operation is None:
            raise machine.refusal(REFUSED_CODES.get(code, f"opcode {code:#04x}"))
        machine.charge(COST_BYTES.get(code, 16))
        operation(machine)
    raise CorruptError("it ends early")


__all__ = ["MEMORY_BYTES_MAX", "Record", "load_plain"]
