"""Every rule of the schema, broken once on write and once on read, with its message."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trace_helpers import make_request

import traces.dataset
import traces.validation
import traces.writer
from traces.dataset import TraceWriter, open_trace
from traces.errors import TraceError
from traces.schema import COLUMNS, arrow_schema

GOOD = [make_request(i) for i in range(10)]

# Column, row, value, what the message says after the file's name.
BROKEN = [
    ("request_id", 4, None, "column request_id is null at row 4; give every request its own id"),
    ("request_id", 4, "", "column request_id is empty at row 4; give it an id"),
    (
        "request_id",
        8,
        "r{3}",
        None,
    ),
    (
        "request_id",
        8,
        "r3",
        "column request_id repeats 'r3' at row 8 (first at row 3); give every request its own id",
    ),
    ("arrival_us", 2, None, "column arrival_us is null at row 2; give every request its arrival"),
    ("arrival_us", 0, -5, "column arrival_us is negative at row 0 (-5); shift the trace"),
    (
        "arrival_us",
        7,
        12,
        "column arrival_us goes back in time at row 7 (12 after 60); sort the trace by arrival_us",
    ),
    ("input_tokens", 9, None, "column input_tokens is null at row 9; drop the request or give"),
    ("input_tokens", 9, 0, "column input_tokens is 0 at row 9; drop the request or give"),
    ("output_tokens", 1, -3, "column output_tokens is -3 at row 1; drop the request or give"),
    (
        "block_hashes",
        6,
        [1, 2],
        "column block_hashes has 2 hashes at row 6 where 33 input tokens in blocks of 16 make 3; "
        "give one hash per block or null",
    ),
    ("block_hashes", 6, [], "column block_hashes has 0 hashes at row 6"),
    ("block_hashes", 6, [1, None, 3], "column block_hashes has a null hash at row 6; give one"),
    (
        "cancel_us",
        5,
        49,
        "column cancel_us is before the arrival at row 5 (49 before 50); cancel_us is an absolute",
    ),
]


def _columns(column, row, value):
    columns = {name: [getattr(r, name) for r in GOOD] for name in COLUMNS}
    columns["block_hashes"] = [hashes.tolist() for hashes in columns["block_hashes"]]
    # A null list before the broken row must not shift the row number in the message.
    columns["block_hashes"][1] = None
    columns[column][row] = value
    return columns


def _write_unchecked(path, columns, block_size=b"16"):
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema()])
    metadata = {b"kvreplay.schema": b"kvreplay.trace/1", b"kvreplay.request_count": b"10"}
    if block_size:
        metadata[b"kvreplay.block_size"] = block_size
    pq.write_table(pa.table(columns, schema=schema.with_metadata(metadata)), path)


@pytest.mark.parametrize("batch_rows", [1, 3, 4096])
@pytest.mark.parametrize(("column", "row", "value", "message"), BROKEN)
def test_broken_rows_are_refused_when_read(
    tmp_path, monkeypatch, column, row, value, message, batch_rows
):
    monkeypatch.setattr(traces.dataset, "BATCH_ROWS", batch_rows)
    path = tmp_path / "t.parquet"
    _write_unchecked(path, _columns(column, row, value))
    trace = open_trace(path)
    if message is None:
        assert len(list(trace.iter_requests())) == 10
        return
    with pytest.raises(TraceError) as caught:
        list(trace.iter_requests())
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("batch_rows", [1, 3, 10])
@pytest.mark.parametrize(("column", "row", "value", "message"), BROKEN)
def test_broken_rows_are_refused_when_written(tmp_path, column, row, value, message, batch_rows):
    path = tmp_path / "t.parquet"
    columns = _columns(column, row, value)

    def write():
        with TraceWriter(path, source="test", block_size=16) as writer:
            for start in range(0, 10, batch_rows):
                part = {n: values[start : start + batch_rows] for n, values in columns.items()}
                writer.write_columns(part)

    if message is None:
        write()
        assert open_trace(path).request_count == 10
        return
    with pytest.raises(TraceError) as caught:
        write()
    assert str(caught.value).startswith(f"{path}: {message}")
    assert list(tmp_path.iterdir()) == []


def test_hashes_without_a_block_size_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    _write_unchecked(path, _columns("priority", 0, None), block_size=None)
    with pytest.raises(TraceError, match="is filled at row 0 although the trace declares no"):
        list(open_trace(path).iter_requests())


def test_colliding_fingerprints_are_not_taken_for_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(traces.validation, "hash", lambda name: 7, raising=False)
    monkeypatch.setattr(traces.dataset, "BATCH_ROWS", 2)
    monkeypatch.setattr(traces.writer, "ROWS_BUFFERED", 3)
    path = tmp_path / "t.parquet"
    with TraceWriter(path, source="test", block_size=16) as writer:
        for request in GOOD:
            writer.write(request)
    assert len(list(open_trace(path).iter_requests())) == 10


def test_repeats_are_found_across_many_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(traces.writer, "ROWS_BUFFERED", 8)
    requests = [make_request(i) for i in range(1000)]
    for first, second in ((0, 999), (500, 731), (990, 999)):
        changed = list(requests)
        changed[second] = make_request(second, request_id=f"r{first}")
        with (
            pytest.raises(TraceError, match=rf"repeats 'r{first}' at row {second} .*row {first}\)"),
            TraceWriter(tmp_path / "t.parquet", source="test", block_size=16) as writer,
        ):
            for request in changed:
                writer.write(request)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_tokens": 2**31}, "column input_tokens cannot hold 2147483648 at row 1; its type"),
        ({"output_tokens": "ten"}, "column output_tokens cannot hold 'ten' at row 1"),
        ({"priority": 128}, "column priority cannot hold 128 at row 1"),
        ({"request_id": "\ud800"}, "column request_id cannot hold '\\ud800' at row 1"),
        ({"block_hashes": [-1, 1, 1]}, "column block_hashes cannot hold [-1, 1, 1] at row 1"),
    ],
)
def test_values_that_do_not_fit_are_named(tmp_path, changes, message):
    with (
        pytest.raises(TraceError) as caught,
        TraceWriter(tmp_path / "t.parquet", source="test", block_size=16) as writer,
    ):
        writer.write(make_request(0))
        writer.write(make_request(1, **changes))
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"request_id": ["a"], "arrival_us": [0], "input_tokens": [1]}, "output_tokens is missing"),
        (
            {"request_id": ["a"], "arrival_us": [], "input_tokens": [1], "output_tokens": [1]},
            "column arrival_us has 0 rows where request_id has 1",
        ),
        ({"tokens": [1]}, "column tokens is unknown; a trace has request_id, arrival_us"),
    ],
)
def test_columns_that_make_no_batch_are_refused(tmp_path, columns, message):
    with (
        pytest.raises(TraceError) as caught,
        TraceWriter(tmp_path / "t.parquet", source="test", block_size=16) as writer,
    ):
        writer.write_columns(columns)
    assert message in str(caught.value)


def test_a_block_size_must_be_a_number_of_tokens(tmp_path):
    with pytest.raises(TraceError, match="block_size is 0; it must be at least 1"):
        TraceWriter(tmp_path / "t.parquet", source="", block_size=0)


def test_cancel_at_arrival_and_ties_are_allowed(write_trace):
    requests = [make_request(i, arrival_us=5, cancel_us=5) for i in range(3)]
    assert np.all([r.cancel_us == 5 for r in open_trace(write_trace(requests)).iter_requests()])


@pytest.mark.parametrize("column", ["request_id", "session_id"])
def test_text_that_is_not_utf8_is_one_sentence(write_trace, tmp_path, column):
    table = pq.read_table(write_trace([make_request(0)]))
    bad = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    path = tmp_path / "bad.parquet"
    pq.write_table(table.set_column(table.column_names.index(column), column, bad), path)
    with pytest.raises(TraceError, match=r"bad.parquet: the data after row 0 cannot be decoded"):
        open_trace(path).validate()
