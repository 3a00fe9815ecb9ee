"""`kvreplay trace anonymize`: nobody's name survives, the shape of the trace does."""

import base64
import json
import os
import tempfile
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_helpers import as_plain, make_request

import traces.dataset
import traces.pseudonyms
from replay.cli import run_command_line
from traces.anonymize import QUANTUM_US_MAX, SOURCE, _rekeyed, anonymize_trace, derive_keys
from traces.dataset import TraceWriter, open_trace
from traces.errors import TraceError
from traces.schema import COLUMNS, TraceRequest
from traces.statistics.inspection import inspect_trace
from traces.synthesis import SynthesisOptions, write_synthetic_trace

SECRET = "0123456789abcdef0123456789abcdef"
KEYS = derive_keys(SECRET.encode())
OTHER_KEYS = derive_keys(b"another secret of some length")
VARIABLE = "KVREPLAY_ANONYMIZE_KEY"


@pytest.fixture
def kvreplay(capsys, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)

    def run(*arguments):
        code = run_command_line(["trace", "anonymize", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "secret.key"
    path.write_text(SECRET + "\n")
    return path


@st.composite
def request_lists(draw):
    """Requests with few tenants, sessions and hashes, so that much of it is equal."""
    arrivals = sorted(draw(st.lists(st.integers(0, 10**7) | st.integers(0, 2**62), max_size=25)))
    requests = []
    for index, arrival_us in enumerate(arrivals):
        tenant = draw(st.sampled_from(["acme", "zeta", "", "a b"]))
        session = draw(st.none() | st.sampled_from([f"{tenant}/bob-1", f"{tenant}/eve", "lone"]))
        blocks = draw(st.integers(1, 5))
        hashes = draw(
            st.none() | st.lists(st.integers(2**40, 2**40 + 4), min_size=blocks, max_size=blocks)
        )
        requests.append(
            TraceRequest(
                request_id=f"{tenant if session is None else session}/turn{index}",
                arrival_us=arrival_us,
                input_tokens=blocks * 16,
                output_tokens=draw(st.integers(1, 9)),
                block_hashes=None if hashes is None else np.array(hashes, np.uint64),
                session_id=session,
                cancel_us=draw(st.none() | st.integers(arrival_us, arrival_us + 10**7)),
                priority=draw(st.none() | st.integers(-128, 127)),
            )
        )
    return requests


def write(path, requests, source="test"):
    with TraceWriter(path, source=source, block_size=16) as writer:
        for request in requests:
            writer.write(request)
    return path


def anonymised(folder, requests, keys=KEYS, **settings):
    """Anonymise in batches of 4 rows; return both paths."""
    folder = Path(folder)
    source, output = write(folder / "in.parquet", requests), folder / "out.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.dataset, "BATCH_ROWS", 4)
        assert anonymize_trace(source, output, keys, **settings) == len(requests)
    return source, output


def read(path):
    return list(open_trace(path).iter_requests())


def hash_lists(requests):
    return [None if r.block_hashes is None else r.block_hashes.tolist() for r in requests]


def same_shape(before, after):
    """Whether two sequences are equal in exactly the same places (None only where None is)."""
    there, back = {}, {}
    return all(
        (a is None) == (b is None) and there.setdefault(a, b) == b and back.setdefault(b, a) == a
        for a, b in zip(before, after, strict=True)
    )


@settings(max_examples=30)
@given(request_lists())
def test_what_was_equal_is_equal_and_nothing_else(requests):
    with tempfile.TemporaryDirectory() as folder:
        source, output = anonymised(folder, requests)
        after = read(output)
        reuse = [inspect_trace(path)["prefix_reuse"] for path in (source, output)]
    assert reuse[0] == reuse[1]
    identities = [
        [r.request_id for r in rows] + [r.session_id for r in rows] for rows in (requests, after)
    ]
    assert same_shape(*identities)
    tenants = [[r.request_id.split("/")[0] for r in rows] for rows in (requests, after)]
    assert same_shape(*tenants)
    assert not set(identities[0]) - {None} & set(identities[1])
    flat = [[h for hashes in hash_lists(rows) for h in hashes or ()] for rows in (requests, after)]
    assert same_shape(*flat)
    assert not set(flat[0]) & set(flat[1])
    for old, new in zip(requests, after, strict=True):
        if old.session_id is not None:
            assert new.request_id.startswith(new.session_id + "/")
        kept = ("arrival_us", "input_tokens", "output_tokens", "cancel_us", "priority")
        assert all(getattr(old, name) == getattr(new, name) for name in kept)
        assert (old.block_hashes is None) == (new.block_hashes is None)
        if old.block_hashes is not None:
            assert len(old.block_hashes) == len(new.block_hashes)


@settings(max_examples=10)
@given(request_lists())
def test_one_key_one_result_another_key_nothing_in_common(requests):
    with tempfile.TemporaryDirectory() as folder:
        source, output = anonymised(folder, requests)
        again, other = Path(folder) / "again.parquet", Path(folder) / "other.parquet"
        # Other batches, and a cache in another state: the same bytes.
        anonymize_trace(source, again, KEYS)
        assert again.read_bytes() == output.read_bytes()
        anonymize_trace(source, other, OTHER_KEYS)
        rows = [read(output), read(other)]
    segments = [
        {s for r in half for i in (r.request_id, r.session_id) if i for s in i.split("/")}
        for half in rows
    ]
    hashes = [{h for blocks in hash_lists(half) for h in blocks or ()} for half in rows]
    assert not segments[0] & segments[1]
    assert not hashes[0] & hashes[1]


@settings(max_examples=30)
@given(request_lists(), st.sampled_from([1, 1000, 7000, 10**6, QUANTUM_US_MAX]))
def test_quantised_times_are_floored_and_stay_valid(requests, quantum_us):
    with tempfile.TemporaryDirectory() as folder:
        _, output = anonymised(folder, requests, quantum_us=quantum_us)
        after = read(output)
    for old, new in zip(requests, after, strict=True):
        assert new.arrival_us == old.arrival_us // quantum_us * quantum_us
        expected = None if old.cancel_us is None else old.cancel_us // quantum_us * quantum_us
        assert new.cancel_us == expected


def everything_in(path):
    """All that a reader of the file can see, as bytes: raw, decoded values and footer."""
    seen = [path.read_bytes()]
    with pq.ParquetFile(path) as parquet:
        for key, value in (parquet.metadata.metadata or {}).items():
            seen += [key, value]
            if key == b"ARROW:schema":
                seen.append(base64.b64decode(value))
        for group in range(parquet.metadata.num_row_groups):
            for column in range(parquet.metadata.num_columns):
                seen.append(repr(parquet.metadata.row_group(group).column(column)).encode())
        for column in parquet.read().columns:
            for value in column.to_pylist():
                for item in value if isinstance(value, list) else [value]:
                    seen.append(item.encode() if isinstance(item, str) else repr(item).encode())
                    if isinstance(item, int) and item > 2**56:
                        seen.append(item.to_bytes(8, "little"))
    return b"\0".join(seen)


def test_no_identity_survives_in_any_byte(tmp_path):
    hashes = [[0xDEADBEEFCAFEF00D, 0x0123456789ABCDEF + i] for i in range(40)]
    requests = [
        TraceRequest(
            f"qzTenantqz{i % 3}/wjUser-Ünwj{i % 9}/turn{987650000 + i}",
            1000 * i,
            32,
            3,
            np.array(hashes[i], np.uint64),
            f"qzTenantqz{i % 3}/wjUser-Ünwj{i % 9}",
        )
        for i in range(40)
    ]
    whole = write(tmp_path / "whole.parquet", requests, source="log of qzTenantqz, host hqHosthq")
    table = pq.read_table(whole)
    table = table.append_column("vxMailvx", pa.array([f"vxbob{i}@vx" for i in range(40)]))
    table = table.replace_schema_metadata(
        {**pq.ParquetFile(whole).metadata.metadata, b"vxOwnervx": b"vxsecretvx"}
    )
    source = tmp_path / "in.parquet"
    pq.write_table(table, source, compression="none")
    output = tmp_path / "out.parquet"
    assert anonymize_trace(source, output, KEYS) == 40

    secrets = {
        "hqHosthq",
        "log of",
        "vxMailvx",
        "vxbob",
        "vxOwnervx",
        "vxsecretvx",
        "98765",
        SECRET,
    }
    for request in requests:
        secrets |= {request.request_id, request.session_id, *request.request_id.split("/")}
    needles = {text.encode() for text in secrets}
    for value in {value for row in hashes for value in row}:
        needles |= {value.to_bytes(8, "little"), str(value).encode()}
    before, after = everything_in(source), everything_in(output)
    # The search finds them where they are, so it would find them where they should not be.
    assert [n for n in needles - {SECRET.encode()} if n not in before] == []
    assert [n for n in needles if n in after] == []
    assert open_trace(output).source == SOURCE
    assert pq.read_schema(output).names == list(COLUMNS)


def test_the_schema_and_the_counts_pass(tmp_path):
    source, output = anonymised(tmp_path, [make_request(i) for i in range(30)])
    before, after = open_trace(source), open_trace(output)
    assert (after.block_size, after.request_count) == (before.block_size, before.request_count)
    plain = tmp_path / "plain.parquet"
    with TraceWriter(plain, source="x", block_size=None) as writer:
        writer.write(TraceRequest("a", 0, 1, 1))
    anonymize_trace(plain, output, KEYS)
    assert open_trace(output).block_size is None
    (request,) = read(output)
    assert as_plain(request)[1:] == (0, 1, 1, None, None, None, None)


def test_what_lies_hidden_under_a_null_is_left_out():
    values = pa.array([1, 2, 3, 4, 5], pa.uint64())
    mask = pa.array([False, True, False])
    column = pa.ListArray.from_arrays(pa.array([0, 1, 3, 5], pa.int32()), values, mask=mask)
    rekeyed = _rekeyed(column, KEYS.blocks)
    assert [None if v is None else len(v) for v in rekeyed.to_pylist()] == [1, None, 2]
    assert len(rekeyed.values) == 3
    assert rekeyed.slice(2).to_pylist() == _rekeyed(column.slice(2), KEYS.blocks).to_pylist()


def test_a_collision_is_an_error_not_a_merger(tmp_path, monkeypatch):
    monkeypatch.setattr(traces.pseudonyms, "TAG_BYTES", 1)
    monkeypatch.setattr(traces.pseudonyms, "make_vocabulary", lambda: ("word",))
    with pytest.raises(TraceError, match="request_id repeats"):
        anonymised(tmp_path, [make_request(i) for i in range(300)])
    assert not (tmp_path / "out.parquet").exists()


def test_synthetic_traces_keep_their_tenants(tmp_path):
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    write_synthetic_trace(SynthesisOptions(requests=500, tenants=5), source)
    anonymize_trace(source, output, KEYS)
    tenants = [
        [r.request_id.split("/")[0] for r in open_trace(path).iter_requests()]
        for path in (source, output)
    ]
    assert len(set(tenants[0])) == 5
    assert same_shape(*tenants)
    for key in ("sessions", "prefix_reuse", "aborts", "ties", "per_request"):
        assert inspect_trace(source)[key] == inspect_trace(output)[key]


def test_keys_differ_by_purpose_and_never_show():
    assert len(KEYS.identities) == 32 and len(KEYS.blocks) == 16
    assert KEYS.blocks not in KEYS.identities
    assert KEYS == derive_keys(SECRET.encode()) != OTHER_KEYS
    assert repr(KEYS) == "AnonymizeKeys()"
    # The last byte of a secret counts as the first does.
    for changed in (SECRET[:-1] + "e", "e" + SECRET[1:], SECRET + "0"):
        keys = derive_keys(changed.encode())
        assert keys.identities != KEYS.identities and keys.blocks != KEYS.blocks


@pytest.mark.parametrize("quantum_us", [0, -1, QUANTUM_US_MAX + 1])
def test_a_quantum_has_bounds(tmp_path, quantum_us):
    with pytest.raises(TraceError, match="quantised"):
        anonymised(tmp_path, [make_request(0)], quantum_us=quantum_us)


def test_file_variable_and_prompt_are_one_secret(kvreplay, tmp_path, key_file, monkeypatch):
    source = write(tmp_path / "in.parquet", [make_request(i) for i in range(9)])
    outputs = [tmp_path / f"{name}.parquet" for name in ("file", "windows", "variable", "prompt")]
    code, out, err = kvreplay(source, "-o", outputs[0], "--key-file", key_file)
    assert (code, out, err) == (0, f"{outputs[0]}: 9 requests anonymised, times kept\n", "")
    windows = tmp_path / "windows.key"
    windows.write_bytes(SECRET.encode() + b"\r\n")
    # The file goes before the variable.
    monkeypatch.setenv(VARIABLE, "a variable that is not looked at")
    assert kvreplay(source, "-o", outputs[1], "--key-file", windows)[0] == 0
    monkeypatch.setenv(VARIABLE, SECRET)
    assert kvreplay(source, "-o", outputs[2])[0] == 0
    monkeypatch.delenv(VARIABLE)
    asked = []

    def answer(text):
        asked.append(text)
        return SECRET

    monkeypatch.setattr(click.termui, "hidden_prompt_func", answer)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, out, err = kvreplay(source, "-o", outputs[3])
    assert code == 0 and len(asked) == 2 and SECRET not in out + err
    assert len({path.read_bytes() for path in outputs}) == 1


def test_json_says_what_was_done(kvreplay, tmp_path, key_file):
    requests = [make_request(i, arrival_us=i * 1500, cancel_us=None) for i in range(9)]
    source = write(tmp_path / "in.parquet", requests)
    output = tmp_path / "out.parquet"
    arguments = (source, "-o", output, "--key-file", key_file, "--quantise-ms", 5)
    code, out, err = kvreplay(*arguments, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "path": str(output),
        "requests": 9,
        "quantise_ms": 5,
        "source": SOURCE,
        "block_size": 16,
        "sha256": open_trace(output).sha256(),
    }
    times_us = [r.arrival_us for r in read(output)]
    assert times_us == [0, 0, 0, 0, 5000, 5000, 5000, 10_000, 10_000]
    code, out, _ = kvreplay(*arguments)
    assert (code, out) == (0, f"{output}: 9 requests anonymised, times floored to 5 ms\n")


def test_bad_secrets_are_one_sentence_and_nothing_is_written(kvreplay, tmp_path, monkeypatch):
    source = write(tmp_path / "in.parquet", [make_request(0)])
    files = {"short": b"fifteen bytes..\n", "long": b"x" * 5000, "empty": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    present = sorted(tmp_path.iterdir())
    output = ("-o", tmp_path / "out.parquet")
    cases = [
        (("--key-file", tmp_path / "short"), "has 15 bytes where a secret needs at least 16"),
        (("--key-file", tmp_path / "empty"), "has 0 bytes"),
        (("--key-file", tmp_path / "long"), "more than 4096 bytes"),
        (("--key-file", tmp_path / "none"), "cannot be read (No such file or directory)"),
        (("--key-file", tmp_path), "cannot be read (Is a directory)"),
        ((), "give --key-file, set KVREPLAY_ANONYMIZE_KEY"),
        ((SECRET,), "Got unexpected extra argument"),
    ]
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    for arguments, message in cases:
        code, out, err = kvreplay(source, *output, *arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err and "Traceback" not in err, err
        assert "fifteen" not in err
    code, _, err = kvreplay(source, *output, "--key-file", tmp_path / "short")
    assert "openssl rand -hex 32" in err and len(err.splitlines()) == 1
    monkeypatch.setenv(VARIABLE, "short")
    code, _, err = kvreplay(source, *output)
    assert code == 2 and "environment variable KVREPLAY_ANONYMIZE_KEY: has 5 bytes" in err
    assert sorted(tmp_path.iterdir()) == present


def test_neither_the_trace_nor_the_key_is_overwritten(kvreplay, tmp_path, key_file):
    source = write(tmp_path / "in.parquet", [make_request(0)])
    content = source.read_bytes()
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    (tmp_path / "soft-key").symlink_to(key_file)
    for output in (source, tmp_path / "soft", tmp_path / "hard", tmp_path / "." / "in.parquet"):
        code, out, err = kvreplay(source, "-o", output, "--key-file", key_file)
        assert (code, out) == (2, "") and "is the trace being read" in err
        with pytest.raises(TraceError, match="is the trace being read"):
            anonymize_trace(source, output, KEYS)
    code, out, err = kvreplay(tmp_path / "soft", "-o", source, "--key-file", key_file)
    assert code == 2 and "is the trace being read" in err
    for output in (key_file, tmp_path / "soft-key"):
        code, _, err = kvreplay(source, "-o", output, "--key-file", key_file)
        assert code == 2 and "is the key file" in err
    assert source.read_bytes() == content and key_file.read_text() == SECRET + "\n"


def test_a_trace_that_is_wrong_leaves_no_output(kvreplay, tmp_path, key_file):
    no_trace = tmp_path / "log"
    no_trace.write_text("x")
    damaged = write(tmp_path / "in.parquet", [make_request(i) for i in range(3000)])
    content = bytearray(damaged.read_bytes())
    content[200:2000] = bytes(1800)
    damaged.write_bytes(content)
    for source, message in ((no_trace, "not a Parquet file"), (damaged, "the file is damaged")):
        code, _, err = kvreplay(source, "-o", tmp_path / "out", "--key-file", key_file)
        assert code == 2 and message in err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*.tmp"))


def test_help_tells_what_is_not_hidden_and_why_the_secret_is_no_argument(kvreplay):
    code, out, _ = kvreplay("--help")
    text = " ".join(out.split())
    assert code == 0
    assert "Example:\n    kvreplay trace anonymize " in out
    for words in ("NOT hidden:", "lengths", "priorities", "shape of sharing", "shell's history"):
        assert words in text
