"""The machine of `traces.formats.safe_pickle`: its state, and what each opcode does at what cost.

Python 3.11, `Lib/pickletools.py`, documents the opcodes: protocols 0 to 5, without the strings of
Python 2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from traces.errors import TraceError
from traces.text import shortened

#: Memory limit for the objects of one pickle, by the estimates in `COST_BYTES`.
MEMORY_BYTES_MAX = 2**30


class Record:
    """The state of an object of a named class.

    Attributes:
        name: module and class, such as `sglang.srt.managers.io_struct.GenerateReqInput`.
        fields: the attributes set by the pickle.
    """

    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: dict[Any, Any] = {}


class Name:
    """An allowed class or function named by a pickle."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class CorruptError(Exception):
    """The data is not a valid pickle; the message says why."""


class Machine:
    """The state that the opcodes work on.

    Attributes:
        data: the pickle.
        at: position of the next byte.
        stack: values since the last mark.
        marked: the stacks below it, one for each mark.
        memo: memoized values, by number.
        integers: integers seen so far, each stored once.
        is_allowed: whether a module and a name are allowed.
    """

    def __init__(
        self, data: bytes | bytearray, place: str, is_allowed: Callable[[str, str], bool]
    ) -> None:
        """Start at the first opcode of the pickle of a file, `place`."""
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
        """Count memory; raise `TraceError` beyond the limit."""
        self._left_bytes -= cost_bytes
        if self._left_bytes < 0:
            raise TraceError(
                f"{self._place}: holds more than {MEMORY_BYTES_MAX} bytes of objects by byte "
                f"{self.at}; write smaller dumps (dump_requests_threshold) and import them together"
            )

    def refusal(self, what: str) -> TraceError:
        """Return the error for anything but plain data."""
        return TraceError(
            f"{self._place}: refused to build {what} (at byte {self.at}); a request dump needs "
            "plain data and the engine's own records only: do not load this file with Python's "
            "pickle, and record one without that"
        )

    # Bytes.

    def take(self, size: int) -> bytes | bytearray:
        """Read `size` bytes."""
        start, end = self.at, self.at + size
        if end > len(self.data):
            raise CorruptError("it ends early")
        self.at = end
        return self.data[start:end]

    def take_size(self, width: int) -> int:
        """Read an unsigned integer of `width` bytes."""
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
        """Remove the last values from the stack and return them, lowest first."""
        if len(self.stack) < count:
            raise CorruptError("it takes more than there is")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_marked(self) -> list[Any]:
        """Remove all values since the last mark from the stack and return them."""
        values = self.stack
        self.stack = self.marked.pop()
        return values


#: Longer integers are not measurements.
_INTEGER_BYTES_MAX = 128

#: Integers read before their memory is counted.
_INTEGERS_AT_ONCE = 4096

#: Below the modulus of Python's integer hash, so that no two keys have the same hash.
_KEY_MAX = 2**61 - 2

_PROTOCOL_MAX = 5

#: Protocols 0 to 2 use the module names of Python 2; messages use those of Python 3.
_MODULES_BEFORE_3 = {"__builtin__": "builtins", "copy_reg": "copyreg"}

STOP, _BININT1, _BININT2, _BININT = b".KMJ"


# Structure, stack and memo.


def _check_protocol(machine: Machine) -> None:
    if machine.take_size(1) > _PROTOCOL_MAX:
        raise CorruptError("it is of an unknown protocol")


def _check_frame(machine: Machine) -> None:
    if machine.take_size(8) > len(machine.data) - machine.at:
        raise CorruptError("it ends early")


def _mark(machine: Machine) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    # As in Python's machine, popping when nothing follows the mark takes the mark.
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_marked()


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


# Plain values.


def _integers(machine: Machine, code: int) -> None:
    """Push the integer of `code` and those that follow it: lists of token ids are long."""
    data, at, push, share = machine.data, machine.at, machine.push, machine.integers.setdefault
    count, known = 0, len(machine.integers)
    while count < _INTEGERS_AT_ONCE:
        if code == _BININT1:
            value = data[at]
            at += 1
        elif code == _BININT2:
            value = data[at] | data[at + 1] << 8
            at += 2
        elif code == _BININT:
            value = int.from_bytes(data[at : at + 4], "little", signed=True)
            at += 4
        else:
            break
        push(share(value, value))
        count += 1
        machine.at = at
        code = data[at]  # past the end: LookupError, the pickle is cut short
        at += 1
    machine.charge(16 * count + 120 * (len(machine.integers) - known))


def _long(machine: Machine, width: int) -> None:
    size = machine.take_size(width)
    if size > _INTEGER_BYTES_MAX:
        raise CorruptError(f"it has an integer of {size} bytes")
    machine.push(int.from_bytes(machine.take(size), "little", signed=True))


def _decimal(machine: Machine) -> None:
    text = machine.take_line().removesuffix("L")
    if len(text) > 3 * _INTEGER_BYTES_MAX:
        raise CorruptError(f"it has an integer of {len(text)} digits")
    # Protocol 0 spells booleans as integers with a leading zero.
    machine.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))


def _text(machine: Machine, width: int) -> None:
    data = machine.take(machine.take_size(width))
    machine.charge(len(data))
    machine.push(data.decode("utf-8", "surrogatepass"))


def _bytes(machine: Machine, width: int) -> None:
    data = machine.take(machine.take_size(width))
    machine.charge(len(data))
    machine.push(bytes(data))


# Containers.


def _as_key(value: Any) -> Any:
    """A key of a dict, or a member of a set: its hash is cheap and cannot be made to collide."""
    kind = type(value)
    if kind in (str, bytes, bool, Record, Name) or value is None:
        return value
    if kind is int and abs(value) <= _KEY_MAX:
        return value
    raise CorruptError(f"it has a key that is a {kind.__name__}")


def _as_dict(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise CorruptError("it has a key without a value")
    return dict(zip(map(_as_key, values[::2]), values[1::2], strict=True))


def _append(machine: Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is list:
        target.extend(values)
    elif type(target) is not Record:
        raise CorruptError(f"it appends to a {type(target).__name__}")


def _set_items(machine: Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is dict:
        target.update(_as_dict(values))
    elif type(target) is not Record:
        raise CorruptError(f"it sets items of a {type(target).__name__}")


def _add(machine: Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not set:
        raise CorruptError(f"it adds to a {type(target).__name__}")
    target.update(map(_as_key, values))


# Names, and the calls that Python would make.


def _name(machine: Machine, module: Any, name: Any) -> None:
    if not (type(module) is type(name) is str):
        raise CorruptError("it names something with no text")
    module = _MODULES_BEFORE_3.get(module, module)
    if not machine.is_allowed(module, name):
        raise machine.refusal(shortened(f"{module}.{name}", 200))
    machine.push(Name(f"{module}.{name}"))


def _refuse_instance(machine: Machine) -> None:
    raise machine.refusal(shortened(f"{machine.take_line()}.{machine.take_line()}", 200))


def _record(machine: Machine, argument_count: int) -> None:
    """Push a record for a call of a class or function; the arguments are dropped."""
    called = machine.pop(argument_count + 1)[0]
    if type(called) is not Name:
        raise CorruptError(f"it calls a {type(called).__name__}")
    machine.push(Record(called.name))


def _build(machine: Machine) -> None:
    target, state = machine.pop(2)
    if type(target) is not Record:
        raise CorruptError(f"it sets the state of a {type(target).__name__}")
    # A class with slots has two dicts, the first for attributes.
    if type(state) is tuple and state:
        state = state[0]
    if type(state) is dict:
        target.fields = state
    machine.push(target)


OPERATIONS: dict[int, Callable[[Machine], Any]] = {
    0x80: _check_protocol,
    0x95: _check_frame,
    ord("("): _mark,
    ord("0"): _pop,
    ord("1"): Machine.pop_marked,
    ord("2"): lambda machine: machine.push(machine.stack[-1]),
    ord("p"): lambda machine: _put(machine, int(machine.take_line())),
    ord("q"): lambda machine: _put(machine, machine.take_size(1)),
    ord("r"): lambda machine: _put(machine, machine.take_size(4)),
    0x94: lambda machine: _put(machine, len(machine.memo)),
    ord("g"): lambda machine: machine.push(machine.memo[int(machine.take_line())]),
    ord("h"): lambda machine: machine.push(machine.memo[machine.take_size(1)]),
    ord("j"): lambda machine: machine.push(machine.memo[machine.take_size(4)]),
    ord("N"): lambda machine: machine.push(None),
    0x88: lambda machine: machine.push(True),
    0x89: lambda machine: machine.push(False),
    _BININT1: lambda machine: _integers(machine, _BININT1),
    _BININT2: lambda machine: _integers(machine, _BININT2),
    _BININT: lambda machine: _integers(machine, _BININT),
    0x8A: lambda machine: _long(machine, 1),
    0x8B: lambda machine: _long(machine, 4),
    ord("I"): _decimal,
    ord("L"): _decimal,
    ord("F"): lambda machine: machine.push(float(machine.take_line())),
    ord("G"): lambda machine: machine.push(struct.unpack(">d", machine.take(8))[0]),
    ord("V"): lambda machine: machine.push(
        machine.take_line().encode("utf-8").decode("raw-unicode-escape")
    ),
    0x8C: lambda machine: _text(machine, 1),
    ord("X"): lambda machine: _text(machine, 4),
    0x8D: lambda machine: _text(machine, 8),
    ord("C"): lambda machine: _bytes(machine, 1),
    ord("B"): lambda machine: _bytes(machine, 4),
    0x8E: lambda machine: _bytes(machine, 8),
    ord("]"): lambda machine: machine.push([]),
    ord("l"): lambda machine: machine.push(machine.pop_marked()),
    ord("a"): lambda machine: _append(machine, machine.pop(1)),
    ord("e"): lambda machine: _append(machine, machine.pop_marked()),
    ord(")"): lambda machine: machine.push(()),
    0x85: lambda machine: machine.push(tuple(machine.pop(1))),
    0x86: lambda machine: machine.push(tuple(machine.pop(2))),
    0x87: lambda machine: machine.push(tuple(machine.pop(3))),
    ord("t"): lambda machine: machine.push(tuple(machine.pop_marked())),
    ord("}"): lambda machine: machine.push({}),
    ord("d"): lambda machine: machine.push(_as_dict(machine.pop_marked())),
    ord("s"): lambda machine: _set_items(machine, machine.pop(2)),
    ord("u"): lambda machine: _set_items(machine, machine.pop_marked()),
    0x8F: lambda machine: machine.push(set()),
    0x90: lambda machine: _add(machine, machine.pop_marked()),
    0x91: lambda machine: machine.push(frozenset(map(_as_key, machine.pop_marked()))),
    ord("c"): lambda machine: _name(machine, machine.take_line(), machine.take_line()),
    0x93: lambda machine: _name(machine, *machine.pop(2)),
    ord("i"): _refuse_instance,
    ord("R"): lambda machine: _record(machine, 1),
    0x81: lambda machine: _record(machine, 1),
    0x92: lambda machine: _record(machine, 2),
    ord("b"): _build,
}

#: The meaning of the opcodes that are refused.
REFUSED_CODES = {
    **dict.fromkeys(b"PQ", "an object with a persistent id"),
    **dict.fromkeys(b"\x82\x83\x84", "an object of the extension registry"),
    **dict.fromkeys(b"\x97\x98", "an object whose bytes are kept elsewhere"),
    **dict.fromkeys(b"STU", "a string of Python 2"),
    ord("o"): "an object of protocol 0",
    0x96: "a bytearray",
}

#: Memory of an opcode's object, including its place in a list; 16 for other opcodes.
COST_BYTES = {
    **dict.fromkeys(b"FG", 40),
    **dict.fromkeys(b"ILVXCB\x8a\x8b\x8c\x8d\x8e", 80),
    **dict.fromkeys(b"](tl\x85\x86\x87", 100),
    **dict.fromkeys(b"pqr\x94", 120),
    **dict.fromkeys(b"cR\x93\x81\x92", 200),
    **dict.fromkeys(b"}d\x8f\x91", 260),
}
