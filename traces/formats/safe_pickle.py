"""A reader of pickles that cannot run anything: it knows plain data, and inert records by name.

A pickle is a program for a stack machine, and Python's own machine imports and calls whatever the
program names. This one has neither an import nor a call in it. It builds None, booleans, numbers,
text, bytes, lists, tuples, dicts, sets and frozensets; a class or function that the program names
is either in the caller's list, and then becomes a `Record` that only keeps the state it is given,
or is refused by its name. Extension codes, persistent ids and buffers kept elsewhere are refused.

Memory and time are bounded by the size of the data and by `MEMORY_BYTES_MAX`: sizes that a pickle
claims are compared with what is there before anything is allocated, the memo is a dict (so that no
index makes it grow), and keys of dicts and sets are text, bytes and small integers only (hashing
nested tuples that share their parts takes exponential time). What comes back may still share parts
with itself, or contain itself: whoever reads it must not compare, copy or print it as a whole.

    safe_pickle   the loop       safe_pickle_machine   the stack, the memo, the bytes and the opcodes
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
    """Return what a pickle holds.

    Args:
        data: the whole pickle.
        place: the file, for messages.
        is_allowed: whether a module and a name may occur; they become inert records.

    Raises:
        TraceError: the pickle names anything else, or is damaged or too large.
    """
    machine = Machine(data, place, is_allowed)
    try:
        return _run(machine)
    except TraceError:
        raise
    except CorruptError as problem:
        reason = str(problem)
    except (LookupError, ValueError):
        # The stack or the memo lacks what an opcode takes, or a text is none.
        reason = "it does not follow the rules of pickles"
    except MemoryError:
        reason = "it does not fit into memory"
    raise TraceError(
        f"{place}: is no pickle that can be read ({reason} at byte {machine.at}); it is cut short "
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
