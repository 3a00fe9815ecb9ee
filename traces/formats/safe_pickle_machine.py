"""The state of `traces.formats.safe_pickle`: bytes to read, a stack, a memo, memory left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traces.errors import TraceError

#: What the objects of one pickle may take, by the estimates in `safe_pickle_opcodes.COST_BYTES`.
MEMORY_BYTES_MAX = 2**30


class Record:
    """An object of a named class, of which only the state is known.

    Attributes:
        name: module and class, such as `sglang.srt.managers.io_struct.GenerateReqInput`.
        fields: what the pickle sets as its attributes.
    """

    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: dict[Any, Any] = {}


class Name:
    """A class or function that a pickle names and may name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class CorruptError(Exception):
    """The pickle is not one; the message says why."""


class Machine:
    """What the opcodes work on.

    Attributes:
        data: the pickle.
        at: position of the next byte.
        stack: values since the last mark.
        marked: the stacks below it, one a mark.
        memo: values to use again, by number.
        integers: integers that were met, each kept once.
        is_allowed: whether a module and a name may occur.
    """

    def __init__(
        self, data: bytes | bytearray, place: str, is_allowed: Callable[[str, str], bool]
    ) -> None:
        """Stand before the first opcode of the pickle of a file, `place`."""
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.integers: dict[int, int] = {}
        self.is_allowed = is_allowed
        self._place = place
        self._left_bytes = MEMORY_BYTES_MAX

    def charge(self, cost_bytes: int) -> None:
        """Count memory; stop when too much of it is used."""
        self._left_bytes -= cost_bytes
        if self._left_bytes < 0:
            raise TraceError(
                f"{self._place}: holds more than {MEMORY_BYTES_MAX} bytes of objects by byte "
                f"{self.at}; write smaller dumps (dump_requests_threshold) and import them together"
            )

    def refusal(self, what: str) -> TraceError:
        """The error for what is not plain data."""
        return TraceError(
            f"{self._place}: refused to build {what} (at byte {self.at}); a request dump needs "
            "plain data and the engine's own records only: do not load this file with Python's "
            "pickle, and record one without that"
        )

    # Bytes.

    def take(self, size: int) -> bytes | bytearray:
        """Read so many bytes."""
        start, end = self.at, self.at + size
        if end > len(self.data):
            raise CorruptError("it ends early")
        self.at = end
        return self.data[start:end]

    def take_size(self, width: int) -> int:
        """Read an unsigned integer of so many bytes."""
        return int.from_bytes(self.take(width), "little")

    def take_line(self) -> str:
        """Read text up to a line end."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise CorruptError("it ends early")
        line = self.data[self.at : end]
        self.at = end + 1
        return line.decode("utf-8")

    # The stack.

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Take the last values off the stack, the lowest first."""
        if len(self.stack) < count:
            raise CorruptError("it takes more than there is")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_marked(self) -> list[Any]:
        """Take everything since the last mark off the stack."""
        values = self.stack
        self.stack = self.marked.pop()
        return values
