"""Reading and writing: what goes in comes out, in bounded row groups, atomically."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_helpers import as_plain, make_request

import traces.dataset
import traces.files.place
import traces.parquet_batches
from traces.dataset import TraceWriter, open_trace
from traces.errors import OutputError, TraceError
from traces.schema import COLUMNS, TraceRequest, arrow_schema


@st.composite
def request_lists(draw):
    block_size = draw(st.integers(1, 600))
    arrivals = sorted(draw(st.lists(st.integers(0, 2**62), max_size=30)))
    requests = []
    for index, arrival_us in enumerate(arrivals):
        input_tokens = draw(st.integers(1, 20 * block_size))
        blocks = -(-input_tokens // block_size)
        hashes = draw(
            st.none() | st.lists(st.integers(0, 2**64 - 1), min_size=blocks, max_size=blocks)
        )
        requests.append(
            TraceRequest(
                request_id=f"{draw(st.text(st.characters(codec='utf-8'), max_size=5))}-{index}",
                arrival_us=arrival_us,
                input_tokens=input_tokens,
                output_tokens=draw(st.integers(1, 2**31 - 1)),
                block_hashes=None if hashes is None else np.array(hashes, np.uint64),
                session_id=draw(st.none() | st.text(st.characters(codec="utf-8"), max_size=5)),
                cancel_us=draw(st.none() | st.integers(arrival_us, 2**62)),
                priority=draw(st.none() | st.integers(-128, 127)),
            )
        )
    return block_size, requests


@pytest.mark.slow
@given(request_lists(), st.integers(1, 7))
def test_what_is_written_is_read_back(made, batch_rows):
    block_size, requests = made
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.dataset, "BATCH_ROWS", batch_rows)
        patch.setattr(traces.writer, "ROW_GROUP_HASHES", 40)
        patch.setattr(traces.writer, "ROWS_BUFFERED", 4)
        path = Path(folder) / "t.parquet"
        with TraceWriter(path, source="a source", block_size=block_size) as writer:
            for request in requests:
                writer.write(request)
        trace = open_trace(path)
        assert (trace.request_count, trace.block_size, trace.source) == (
            len(requests),
            block_size,
            "a source",
        )
        assert list(map(as_plain, trace.iter_requests())) == list(map(as_plain, requests))


def test_the_file_declares_the_documented_schema(write_trace):
    path = write_trace([make_request(0)])
    with pq.ParquetFile(path) as parquet:
        fields = parquet.schema_arrow
        metadata = parquet.metadata.metadata
        assert parquet.metadata.row_group(0).column(1).compression == "ZSTD"
    assert [(f.name, f.nullable) for f in fields] == [
        ("request_id", False),
        ("arrival_us", False),
        ("input_tokens", False),
        ("output_tokens", False),
        ("block_hashes", True),
        ("session_id", True),
        ("cancel_us", True),
        ("priority", True),
    ]
    assert str(fields.field("block_hashes").type.value_type) == "uint64"
    assert metadata[b"kvreplay.schema"] == b"kvreplay.trace/1"
    assert metadata[b"kvreplay.request_count"] == b"1"
    assert metadata[b"kvreplay.block_size"] == b"16"


def test_same_rows_same_bytes_however_they_are_batched(tmp_path, monkeypatch):
    monkeypatch.setattr(traces.writer, "ROW_GROUP_ROWS", 64)
    requests = [make_request(i) for i in range(300)]
    columns = {name: [getattr(r, name) for r in requests] for name in COLUMNS}
    digests = set()
    for step in (1, 7, 64, 100, 300):
        path = tmp_path / f"{step}.parquet"
        with TraceWriter(path, source="test", block_size=16) as writer:
            for start in range(0, 300, step):
                if step == 7:
                    for request in requests[start : start + step]:
                        writer.write(request)
                else:
                    part = {name: values[start : start + step] for name, values in columns.items()}
                    writer.write_columns(part)
            assert writer.row_count == 300
        digests.add(open_trace(path).sha256())
    assert len(digests) == 1
    assert digests == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert pq.ParquetFile(path).metadata.num_row_groups == 5


def test_row_groups_end_early_when_prompts_are_long(tmp_path, monkeypatch):
    monkeypatch.setattr(traces.writer, "ROW_GROUP_HASHES", 9)
    path = tmp_path / "t.parquet"
    with TraceWriter(path, source="test", block_size=16) as writer:
        for index in range(8):
            writer.write(make_request(index))
    sizes = pq.ParquetFile(path).metadata
    assert [sizes.row_group(i).num_rows for i in range(sizes.num_row_groups)] == [3, 3, 2]
    assert [r.request_id for r in open_trace(path).iter_requests()] == [f"r{i}" for i in range(8)]


def test_columns_may_be_numpy_and_nullable_ones_left_out(tmp_path):
    path = tmp_path / "t.parquet"
    with TraceWriter(path, source="test", block_size=None) as writer:
        writer.write_columns(
            {
                "request_id": pa.array(["a", "b"], pa.large_string()),
                "arrival_us": np.array([0, 0]),
                "input_tokens": np.array([1, 2]),
                "output_tokens": [3, 4],
            }
        )
    assert list(map(as_plain, open_trace(path).iter_requests())) == [
        ("a", 0, 1, 3, None, None, None, None),
        ("b", 0, 2, 4, None, None, None, None),
    ]


def test_hash_views_cannot_be_written_through(write_trace):
    (request,) = open_trace(write_trace([make_request(0)])).iter_requests()
    with pytest.raises(ValueError, match="read-only"):
        request.block_hashes[0] = 5


def test_large_offsets_as_polars_writes_them_are_read(tmp_path, write_trace):
    requests = [make_request(i) for i in range(5)]
    table = pq.read_table(write_trace(requests))
    types = {
        "request_id": pa.large_string(),
        "session_id": pa.large_string(),
        "block_hashes": pa.large_list(pa.uint64()),
    }
    schema = pa.schema([(f.name, types.get(f.name, f.type)) for f in table.schema])
    path = tmp_path / "large.parquet"
    pq.write_table(table.cast(schema.with_metadata(table.schema.metadata)), path)
    assert list(map(as_plain, open_trace(path).iter_requests())) == list(map(as_plain, requests))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(traces.writer, "ROW_GROUP_ROWS", 2000)
    monkeypatch.setattr(traces.dataset, "BATCH_ROWS", 500)
    monkeypatch.setattr(traces.parquet_batches, "_READ_BUFFER_BYTES", 2**16)
    rng = np.random.default_rng(0)
    path = tmp_path / "t.parquet"
    with TraceWriter(path, source="test", block_size=16) as writer:
        for index in range(20_000):
            hashes = rng.integers(0, 2**64, 100, dtype=np.uint64)
            writer.write(TraceRequest(f"r{index}", index, 1600, 1, hashes))
    size = path.stat().st_size
    assert size > 14_000_000
    before = pa.total_allocated_bytes()
    peak = max(
        pa.total_allocated_bytes() - before
        for index, _ in enumerate(open_trace(path).iter_requests())
        if index % 500 == 0
    )
    assert peak < size / 3


def test_an_empty_trace_is_a_trace(write_trace):
    trace = open_trace(write_trace([]))
    assert trace.request_count == 0
    assert list(trace.iter_requests()) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, GeneratorExit])
def test_an_exception_midway_leaves_nothing_new(tmp_path, stop):
    path = tmp_path / "t.parquet"
    with TraceWriter(path, source="test", block_size=16) as writer:
        writer.write(make_request(0))
    before = path.read_bytes()
    with pytest.raises(stop), TraceWriter(path, source="test", block_size=16) as writer:
        for index in range(5000):
            writer.write(make_request(index))
        raise stop
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert path.read_bytes() == before


def test_a_failure_while_publishing_leaves_nothing(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(traces.files.place.os, "fsync", refuse)
    with (
        pytest.raises(OutputError, match=r"t\.parquet: cannot be written \(No space left"),
        TraceWriter(tmp_path / "t.parquet", source="test", block_size=16) as writer,
    ):
        writer.write(make_request(0))
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_one_sentence(tmp_path):
    cases = {
        tmp_path: "is a directory; name a file",
        tmp_path / "no" / "t.parquet": "cannot be written (No such file or directory)",
        Path("/dev/null"): "is not a regular file",
    }
    for path, message in cases.items():
        with pytest.raises(OutputError) as caught, TraceWriter(path, source="", block_size=None):
            pass
        assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _parquet_of(tmp_path, **changes):
    """A Parquet file with the trace's schema, `changes` made (type None: column left out)."""
    types = {field.name: field.type for field in arrow_schema()}
    types.update(changes)
    schema = pa.schema([(name, kind) for name, kind in types.items() if kind is not None])
    path = tmp_path / "x.parquet"
    pq.write_table(schema.empty_table(), path)
    return path


def test_files_that_are_no_traces_are_refused_in_one_sentence(tmp_path, write_trace):
    text = tmp_path / "text.parquet"
    text.write_text('{"timestamp": 0}\n')
    empty = tmp_path / "empty.parquet"
    empty.touch()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(write_trace([make_request(0)]).read_bytes()[:-20])
    for path, message in {
        text: "is not a Parquet file; convert",
        empty: "is not a Parquet file (it is empty)",
        cut: "has no readable footer",
        tmp_path: "is a directory",
        tmp_path / "none": "no such file",
        Path("/dev/null"): "is not a regular file",
    }.items():
        with pytest.raises(TraceError) as caught:
            open_trace(path)
        assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_tokens": None}, "is not a kvreplay trace: column input_tokens is missing"),
        (
            {"arrival_us": pa.float64()},
            "column arrival_us has type double where a trace has int64; cast",
        ),
        (
            {"block_hashes": pa.list_(pa.int64())},
            "where a trace has list<item: uint64>",
        ),
        ({}, "footer key kvreplay.schema must be 'kvreplay.trace/1' but there is no such key"),
    ],
)
def test_other_schemas_are_refused_by_column(tmp_path, changes, message):
    with pytest.raises(TraceError) as caught:
        open_trace(_parquet_of(tmp_path, **changes))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kvreplay.schema", "kvreplay.trace/9", "but there is 'kvreplay.trace/9'"),
        ("kvreplay.block_size", "many", "kvreplay.block_size is 'many', not a number"),
        ("kvreplay.block_size", "0", "kvreplay.block_size is 0; it must be"),
        ("kvreplay.request_count", "2", "says 2 but the file has 1 rows"),
    ],
)
def test_wrong_metadata_is_refused(tmp_path, write_trace, key, value, message):
    table = pq.read_table(write_trace([make_request(0)]))
    changed = {**table.schema.metadata, key.encode(): value.encode()}
    path = tmp_path / "x.parquet"
    pq.write_table(table.replace_schema_metadata(changed), path)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert message in str(caught.value)


def test_damaged_data_is_one_sentence(tmp_path, write_trace):
    path = write_trace([make_request(i) for i in range(2000)])
    data = bytearray(path.read_bytes())
    data[200:1200] = bytes(1000)
    path.write_bytes(data)
    with pytest.raises(TraceError, match="cannot be decoded"):
        list(open_trace(path).iter_requests())


def test_reading_a_trace_imports_no_polars_faker_torch_or_rich():
    code = (
        "import sys, traces.dataset; "
        "print([m for m in ('polars', 'faker', 'torch', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_batches_are_small_however_long_the_prompts_are(tmp_path):
    path = tmp_path / "long.parquet"
    hashes = np.arange(40_000, dtype=np.uint64)
    with TraceWriter(path, source="", block_size=1) as writer:
        for place in range(150):
            writer.write(TraceRequest(f"r{place}", place, 40_000, 1, hashes))
    # As somebody else might write it: all in one row group.
    pq.write_table(pq.read_table(path), path)
    sizes = [batch.num_rows for batch in open_trace(path).iter_batches()]
    assert sum(sizes) == 150
    assert max(sizes) * 40_000 * 8 <= traces.parquet_batches.BATCH_BYTES_MAX


@pytest.mark.slow
def test_rows_come_back_whole_however_batches_adapt(tmp_path):
    path, numbers = tmp_path / "mixed.parquet", np.random.default_rng(3)
    lengths = [int(n) for n in numbers.choice([1, 2, 5000, 40_000], 900, p=[0.5, 0.4, 0.08, 0.02])]
    with TraceWriter(path, source="", block_size=1) as writer:
        for place, length in enumerate(lengths):
            hashes = np.full(length, place, np.uint64)
            writer.write(TraceRequest(f"r{place}", place, length, 1, hashes))
    for rows in (1, 7, 300, 900):
        pq.write_table(pq.read_table(path), path, row_group_size=rows)
        requests = list(open_trace(path).iter_requests())
        assert [r.request_id for r in requests] == [f"r{place}" for place in range(900)]
        assert [r.block_hashes.size for r in requests] == lengths
