"""`kvreplay trace anonymize`: nobody's name survives, the shape of the trace does."""

import base64
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from anonymize_helpers import KEYS, SECRET, read, write
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_helpers import as_plain, make_request

import traces.dataset
import traces.pseudonyms.keyed_names
from traces.dataset import TraceWriter, open_trace
from traces.errors import TraceError
from traces.pseudonyms.anonymize import (
    QUANTUM_US_MAX,
    SOURCE,
    _rekeyed,
    anonymize_trace,
    derive_keys,
)
from traces.schema import COLUMNS, TraceRequest
from traces.statistics.inspection import inspect_trace
from traces.synthesis import SynthesisOptions, write_synthetic_trace

OTHER_KEYS = derive_keys(b"another secret of some length")


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
                cancel_us=draw(st.none() | st.integers(arrival_us, min(arrival_us + 10**7, 2**62))),
                priority=draw(st.none() | st.integers(-128, 127)),
            )
        )
    return requests


def anonymised(folder, requests, keys=KEYS, **settings):
    """Anonymise in batches of 4 rows; return both paths."""
    folder = Path(folder)
    source, output = write(folder / "in.parquet", requests), folder / "out.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.dataset, "BATCH_ROWS", 4)
        assert anonymize_trace(source, output, keys, **settings) == len(requests)
    return source, output


def hash_lists(requests):
    return [None if r.block_hashes is None else r.block_hashes.tolist() for r in requests]


def same_shape(before, after):
    """Whether two sequences are equal in exactly the same places (None only where None is)."""
    there, back = {}, {}
    return all(
        (a is None) == (b is None) and there.setdefault(a, b) == b and back.setdefault(b, a) == a
        for a, b in zip(before, after, strict=True)
    )


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    monkeypatch.setattr(traces.pseudonyms.keyed_names, "TAG_BYTES", 1)
    monkeypatch.setattr(traces.pseudonyms.keyed_names, "make_vocabulary", lambda: ("word",))
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
