"""The reader of pickles: plain data as it was, and nothing else, whatever a pickle tries."""

import copyreg
import decimal
import functools
import math
import operator
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from traces.errors import TraceError
from traces.formats import safe_pickle, safe_pickle_machine
from traces.formats.safe_pickle import Record, load_plain

ROOT = Path(__file__).resolve().parents[3]

SHARED = ["same"]
PLAIN = [
    None,
    True,
    False,
    0,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    -1,
    -(2**31),
    2**31,
    2**63,
    -(2**900),
    1.5,
    -0.0,
    math.inf,
    5e-324,
    "",
    "ascii",
    "日本 ☕ \U0001f926 \ud800",
    "x" * 300,
    "line\nends\\and\x1aodd\r",
    (),
    (1,),
    (1, 2),
    (1, (2, 3), [4]),
    (1, 2, 3, 4),
    [],
    list(range(1500)),
    {},
    {"a": 1, 2: [3], None: {}, True: "b", -7: ()},
    [SHARED, SHARED],
]
MODERN = [b"", b"bytes", b"y" * 300, set(), {1, "a", None}, frozenset(), frozenset("ab")]


def nothing(module, name):
    return False


def engines(module, name):
    return module == "engine"


def load(blob, is_allowed=nothing):
    return load_plain(blob, "dump.pkl", is_allowed)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back_as_it_was(protocol):
    plain = PLAIN + (MODERN if protocol >= 4 else [])
    found = load(pickle.dumps(plain, protocol))
    assert found == plain
    assert list(map(type, found)) == list(map(type, plain))
    assert found[PLAIN.index([SHARED, SHARED])][0] is found[PLAIN.index([SHARED, SHARED])][1]
    assert str(found[15]) == "-0.0"
    assert math.isnan(load(pickle.dumps(math.nan, protocol)))


def test_a_list_can_contain_itself():
    knot = []
    knot.append(knot)
    found = load(pickle.dumps(knot))
    assert found[0] is found


def test_any_plain_data_comes_back_as_it_was():
    draw = random.Random(20)

    def value(depth):
        kind = draw.randrange(9 if depth else 6)
        if kind == 0:
            return draw.randrange(-(2**70), 2**70) >> draw.randrange(71)
        if kind == 1:
            return draw.random()
        if kind == 2:
            return "".join(map(chr, draw.choices(range(0xD000), k=draw.randrange(9))))
        if kind == 3:
            return draw.randbytes(draw.randrange(9))
        if kind in (4, 5):
            return draw.choice([None, True, False])
        parts = [value(depth - 1) for _ in range(draw.randrange(5))]
        if kind == 6:
            return parts
        return tuple(parts) if kind == 7 else {f"k{at}": part for at, part in enumerate(parts)}

    for _ in range(300):
        thing = value(5)
        for protocol in (3, 4, 5):
            assert load(pickle.dumps(thing, protocol)) == thing


class Trap:
    """Pickles as a call of something else."""

    def __init__(self, called, *arguments, state=None):
        self._reduced = (called, arguments) if state is None else (called, arguments, state)

    def __reduce_ex__(self, protocol):
        return self._reduced


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A file that must never come to be, and a folder of which it is the only danger."""
    monkeypatch.chdir(tmp_path)
    yield "canary"
    assert list(tmp_path.iterdir()) == []


def traps(canary):
    touch = f"touch {canary}"
    code = f"open({canary!r}, 'w')"
    return {
        "posix.system": Trap(os.system, touch),
        "builtins.eval": Trap(eval, code),
        "builtins.exec": Trap(exec, code),
        "subprocess.Popen": Trap(subprocess.Popen, ["touch", canary]),
        "functools.partial": Trap(functools.partial, os.system, touch),
        "operator.attrgetter": operator.attrgetter("system"),
        "builtins.getattr": Trap(getattr, "os", "system"),
        "builtins.__import__": Trap(__import__, "os"),
        "builtins.compile": Trap(compile, code, "x", "exec"),
        "io.open": Trap(open, canary, "w"),
        "builtins.bytearray": Trap(bytearray, 10**9),
        "builtins.list": Trap(list, Trap(range, 10**12)),
        "builtins.map": Trap(list, Trap(map, os.system, [touch])),
        "copyreg._reconstructor": Trap(copyreg._reconstructor, dict, object, None),
        "builtins.object": Trap(object, state={"__class__": dict}),
        "torch._utils._rebuild_tensor_v2": torch.zeros(3),
        "numpy scalar": np.float64(1.5),
        "numpy array": np.zeros(2),
        "decimal.Decimal": decimal.Decimal("1.5"),
        "collections.deque": Trap(__import__("collections").deque, [], 3),
        "test_safe_pickle.Trap": Trap(Trap, 1),
    }


#: What is named first in a pickle, where that is not the key above: patterns.
NAMES = {
    "builtins.map": r"builtins\.list",
    "numpy scalar": r"numpy\._?core\.multiarray\.scalar",
    "numpy array": r"numpy\._?core\.(multiarray\._reconstruct|numeric\._frombuffer)",
    # Protocols 0 to 2 know where Python 2 had it.
    "subprocess.Popen": r"(subprocess|commands)\.Popen",
}


@pytest.mark.parametrize("name", list(traps("canary")))
@pytest.mark.parametrize("protocol", range(6))
def test_every_trap_is_refused_by_name_and_does_nothing(canary, name, protocol):
    evil = traps(canary)[name]
    wanted = NAMES.get(name, re.escape(name))
    if protocol < 2 and type(evil) is not Trap:
        wanted += r"|copyreg\._reconstructor"
    for thing in (evil, [{"good": (1, 2.5, "x")}, {"nested": [(evil,)]}]):
        with pytest.raises(TraceError, match=rf"^dump.pkl: refused to build ({wanted}) \(at byte"):
            load(pickle.dumps(thing, protocol))


def text(word):
    return b"\x8c" + bytes([len(word)]) + word.encode()


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (text("os") + text("system.__call__") + b"\x93.", r"os\.system\.__call__"),
        (text("os") + text("system") + b"\x93" + text("ls") + b"\x85R.", r"os\.system"),
        (b"cos\nsystem\n(S'ls'\ntR.", r"os\.system"),
        (b"(S'ls'\nios\nsystem\n.", "a string of Python 2"),
        (b"(ios\nsystem\n.", r"os\.system"),
        (b"(iengine\nThing\n.", r"engine\.Thing"),
        (b"(cengine\nThing\no.", "an object of protocol 0"),
        (b"cengine\nThing\n)\x81Q.", "an object with a persistent id"),
        (b"Pid\n.", "an object with a persistent id"),
        (b"\x82\x01.", "an object of the extension registry"),
        (b"\x83\x01\x00.", "an object of the extension registry"),
        (b"\x84\x01\x00\x00\x00.", "an object of the extension registry"),
        (b"\x97.", "an object whose bytes are kept elsewhere"),
        (b"\x96" + struct.pack("<Q", 2**60) + b".", "a bytearray"),
        (b"\xff.", "opcode 0xff"),
        (b"cx\xc3\xa9\ny\x1bz\n.", r"xé\.y\\x1bz"),
    ],
)
def test_programs_that_no_pickler_writes_are_refused(canary, program, what):
    with pytest.raises(TraceError, match=rf"^dump.pkl: refused to build {what} \(at byte \d+\)"):
        load(b"\x80\x04" + program, engines)


def test_allowed_names_are_records_that_hold_state_only():
    made = text("engine") + text("Thing") + b"\x93"
    for build in (b")\x81", b")R", b")}\x92", b"(I1\nI2\ntR"):
        record = load(made + build + b"}" + text("rid") + b"K\x07sb.", engines)
        assert (type(record), record.name, record.fields) == (Record, "engine.Thing", {"rid": 7})
    slots = load(made + b")\x81}" + text("a") + b"Ks" + b"s" + b"N\x86b.", engines)
    assert slots.fields == {"a": ord("s")}
    odd = load(made + b")\x81]" + text("__class__") + b"ab.", engines)
    assert odd.fields == {}
    items = load(made + b")R(K\x01K\x02uK\x03a(K\x04e.", engines)
    assert items.fields == {}
    assert load(made + b".", engines).name == "engine.Thing"
    poisoned = load(made + b")\x81}" + text("__class__") + b"K\x01s" + b"b.", engines)
    assert (type(poisoned), poisoned.fields) == (Record, {"__class__": 1})


@pytest.mark.parametrize(
    "program",
    [
        b"\x8b\xff\xff\xff\x7f",
        b"\x8b" + struct.pack("<i", -1),
        b"\x8a\xff" + bytes(255) + b".",
        b"B\xff\xff\xff\xff",
        b"X\xff\xff\xff\xff",
        b"\x8e" + struct.pack("<Q", 2**62),
        b"\x8d" + struct.pack("<Q", 2**64 - 1),
        b"\x95" + struct.pack("<Q", 2**62),
        b"I" + b"9" * 100_000 + b"\n.",
        b"L" + b"9" * 100_000 + b"L\n.",
        b"Inumber\n.",
        b"F1.5x\n.",
        b"X\x01\x00\x00\x00\xff.",
        b"h\x00.",
        b"j\xff\xff\xff\xff.",
        b"gx\n.",
        b"0.",
        b"2.",
        b"e.",
        b"t.",
        b"K\x01\x94K\x02.",
        b"(.",
        b"(K\x01.",
        b".",
        b"\x80\x06.",
        b"K\x01R.",
        b"K\x01)R.",
        b"]}b.",
        b"K\x01K\x02a.",
        b"](K\x01u.",
        b"}(K\x01u.",
        b"](K\x01\x90.",
        b"}K\x01K\x02b.",
        b"K\x01K\x02\x93.",
        b"}]K\x01s.",
        b"})K\x01s.",
        b"}G\x7f\xf8\x00\x00\x00\x00\x00\x00K\x01s.",
        b"\x8f(]\x90.",
        b"(}\x91.",
        b"}\x8a\x08" + b"\xff" * 7 + b"\x7fK\x01s.",
        b"K\x01.K\x02.",
        b"K",
        b"M\x01",
        b"J\x01\x02\x03",
        b"K\x01K",
    ],
)
def test_what_is_no_pickle_is_one_sentence(program):
    tracemalloc.start()
    try:
        with pytest.raises(
            TraceError, match=r"^dump.pkl: is not a readable pickle .* copy it again$"
        ):
            load(program)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "unit",
    [b"]", b"}", b"\x8f", b"(", b")", b"N\x94", b"K\x01", b"\x8c\x01x", b"cengine\nA\n", b"2"],
)
def test_memory_is_bounded(monkeypatch, unit):
    monkeypatch.setattr(safe_pickle_machine, "MEMORY_BYTES_MAX", 2_000_000)
    blob = b"N" + unit * 200_000
    tracemalloc.start()
    try:
        with pytest.raises(TraceError, match="holds more than 2000000 bytes of objects by byte"):
            load(blob, engines)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_distinct_integers_count_towards_memory(monkeypatch):
    monkeypatch.setattr(safe_pickle_machine, "MEMORY_BYTES_MAX", 2_000_000)
    with pytest.raises(TraceError, match="holds more than 2000000 bytes"):
        load(pickle.dumps(list(range(10**6, 10**6 + 20_000))))
    assert len(load(pickle.dumps([10**6] * 100_000))) == 100_000


def test_structures_that_share_their_parts_and_deep_ones_are_quick():
    start = time.process_time()
    double = b"N" + b"\x942\x86" * 200
    assert type(load(double + b".")) is tuple
    with pytest.raises(TraceError, match="it has a key that is a tuple"):
        load(b"}" + double + b"Ns.")
    deep = load(b"N" + b"\x85" * 100_000 + b".")
    assert type(deep) is tuple
    del deep
    nested = load(b"]" * 100_000 + b"a" * 99_999 + b".")
    assert type(nested) is list
    del nested
    record = b"cengine\nA\n)\x81" * 20_000
    load(b"]" + b"(" + record + b"e.", engines)
    assert time.process_time() - start < 10


def test_the_memo_does_not_grow_to_the_largest_index():
    tracemalloc.start()
    try:
        assert load(b"K\x05r\xff\xff\xff\x7fj\xff\xff\xff\x7f\x86.") == (5, 5)
        assert load(b"K\x05p99999999999999\n.") == 5
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


#: Says what Python does in the eyes of its own audit hooks while it reads the pickles it is given.
WATCH = """
import sys
from traces.errors import TraceError
from traces.formats.safe_pickle import load_plain
events = []
blobs = [bytes.fromhex(line) for line in sys.stdin]
sys.addaudithook(lambda event, arguments: events.append(event))
for blob in blobs:
    try:
        load_plain(blob, "f", lambda module, name: module == "engine")
    except TraceError as problem:
        if "refused" not in str(problem):
            events.append(str(problem))
print(events)
"""


def test_nothing_is_imported_called_or_opened(canary):
    blobs = [pickle.dumps([1, evil], 4) for evil in traps(canary).values()]
    blobs.append(pickle.dumps(PLAIN + MODERN, 4))
    blobs.append(text("engine") + text("Thing") + b"\x93)R}" + text("a") + b"Nsb.")
    done = subprocess.run(
        [sys.executable, "-c", WATCH],
        input="\n".join(blob.hex() for blob in blobs),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_random_programs_only_ever_end_in_a_sentence():
    draw = random.Random(7)
    good = pickle.dumps(PLAIN + MODERN, 4)
    codes = bytes(safe_pickle.OPERATIONS)
    for number in range(2000):
        if number % 2:
            blob = bytearray(good)
            for _ in range(draw.randrange(1, 6)):
                blob[draw.randrange(len(blob))] = draw.choice(codes)
        else:
            blob = bytes(draw.choices(codes, k=draw.randrange(1, 60))) + b"."
        try:
            load(bytes(blob), engines)
        except TraceError as problem:
            assert str(problem).startswith("dump.pkl: ")
