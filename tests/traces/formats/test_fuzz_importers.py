"""Damaged logs of every format: a clear sentence or a valid trace, never anything else.

`make test` tries a few hundred logs of each format, `make fuzz` ten thousand.
"""

import json
import os
import random
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pytest
import samples_datasets
import samples_engines
import samples_services
import samples_tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.formats import AUTO, FORMATS, PLAIN_FORMATS
from traces.formats.pipeline import import_logs
from traces.formats.reader import ImportOptions

CASES = int(os.environ.get("KVREPLAY_FUZZ_CASES", "50"))

SAMPLES = {
    **samples_tables.samples(),
    **samples_datasets.samples(),
    **samples_services.samples(),
    **samples_engines.samples(),
}

#: No import of a sample of a few kilobytes may take longer, on however busy a machine.
SECONDS_MAX = 20.0

NASTY = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), "", " ", "0", "-1", "1e9", "nan", "x" * 300, "\ud800", "\x00",
    "2023-11-16 18:15:46", "9999-12-31T23:59:59+14:00", "0001-01-01", [], [1], [[1]], [None],
    ["a"], [1.5], [2**64], [-1], {}, {"a": 1}, {"value": 1}, {"value": None}, [{}],
]  # fmt: skip


def mutate_bytes(data: bytes, numbers: random.Random) -> bytes:
    """Flip, cut, repeat, insert or swap some bytes or lines."""
    if not data:
        return bytes(numbers.randbytes(3))
    start = numbers.randrange(len(data))
    stop = min(len(data), start + numbers.choice([1, 1, 2, 8, 60, 2000]))
    kind = numbers.randrange(7)
    if kind == 0:
        return data[:start] + bytes([numbers.randrange(256)]) + data[start + 1 :]
    if kind == 1:
        return data[:start] + data[stop:]
    if kind == 2:
        return data[:stop] + data[start:stop] * numbers.choice([1, 3]) + data[stop:]
    if kind == 3:
        return data[:start] + numbers.randbytes(numbers.choice([1, 4, 40])) + data[start:]
    if kind == 4:
        return data[:start]
    if kind == 5:
        word = numbers.choice([b",", b'"', b"\n", b"\r", b"{", b"]", b"\x00", b"-", b"9" * 25])
        return data[:start] + word + data[start:]
    lines = data.split(b"\n")
    numbers.shuffle(lines)
    return b"\n".join(lines)


def mutate_json(data: bytes, numbers: random.Random) -> bytes:
    """Replace or remove values somewhere inside the objects of some JSON lines."""
    lines = data.split(b"\n")
    for _ in range(numbers.choice([1, 1, 3, 10])):
        place = numbers.randrange(len(lines))
        try:
            row = json.loads(lines[place])
        except ValueError:
            continue
        inside = row
        while True:
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            if not keys:
                break
            key = numbers.choice(keys)
            if isinstance(inside[key], dict | list) and numbers.random() < 0.7:
                inside = inside[key]
                continue
            if numbers.random() < 0.2:
                del inside[key]
            else:
                inside[key] = numbers.choice(NASTY)
            break
        lines[place] = json.dumps(row).encode()
    return b"\n".join(lines)


def mutate_cells(data: bytes, numbers: random.Random) -> bytes:
    """Replace cells of a table."""
    lines = data.split(b"\n")
    for _ in range(numbers.choice([1, 1, 3, 10])):
        place = numbers.randrange(len(lines))
        cells = lines[place].split(b",")
        value = str(numbers.choice(NASTY)).encode("utf-8", "replace")
        cells[numbers.randrange(len(cells))] = value
        lines[place] = b",".join(cells)
    return b"\n".join(lines)


def damaged(data: bytes, seed: int) -> bytes:
    numbers = random.Random(seed)
    mutations = [mutate_bytes]
    if data[:1] == b"{":
        mutations += [mutate_json] * 2
    elif data[:4] != b"PAR1" and data[:1] != b"\x80":
        mutations += [mutate_cells]
    for _ in range(numbers.choice([1, 1, 1, 2, 5])):
        data = numbers.choice(mutations)(data, numbers)
    if numbers.random() < 0.1:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, numbers.choice(["gzip", "zstd"])) as stream:
            stream.write(data)
        data = sink.getvalue().to_pybytes()
        if numbers.random() < 0.5:
            data = mutate_bytes(data, numbers)
    return data


def import_damaged(name: str, seed: int) -> str | None:
    """Import a damaged log; return the sentence it was refused with, if it was."""
    numbers = random.Random(seed + 1)
    options = ImportOptions(
        {}, 16 if name in PLAIN_FORMATS else None, skip_bad_lines=numbers.random() < 0.5
    )
    with tempfile.TemporaryDirectory() as folder:
        log, out = Path(folder) / "log", Path(folder) / "out.parquet"
        log.write_bytes(damaged(SAMPLES[name], seed))
        started = time.process_time()
        try:
            report = import_logs([log], out, numbers.choice([name, name, AUTO]), options)
        except TraceError as problem:
            assert [path.name for path in Path(folder).iterdir()] == ["log"]
            message = str(problem)
            assert "\n" not in message
            assert str(log) in message
            return message
        finally:
            assert time.process_time() - started < SECONDS_MAX
        assert {path.name for path in Path(folder).iterdir()} == {"log", "out.parquet"}
        trace = open_trace(out)
        trace.validate()
        skipped = sum(count.rows for count in report.skipped.values())
        assert report.rows_read == report.rows_written + skipped
        assert trace.request_count == report.rows_written > 0
        return None


def test_there_is_a_sample_of_every_format():
    assert set(SAMPLES) == set(FORMATS)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_damaged_log_is_refused_clearly_or_imported(name):
    @settings(max_examples=CASES, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 2**40))
    def run(seed):
        import_damaged(name, seed)

    run()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_damage_is_of_both_kinds(name):
    # Else the fuzzing above would only ever see one side of the importers.
    outcomes = set()
    for seed in range(40):
        outcomes.add(import_damaged(name, seed) is None)
        if len(outcomes) == 2:
            return
    pytest.fail(f"all 40 damaged logs were {'imported' if outcomes == {True} else 'refused'}")
