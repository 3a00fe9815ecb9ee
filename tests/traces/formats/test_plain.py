"""Plain tables: columns named by the user, or by the fields of a request themselves."""

import io
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples_tables import plain_csv, plain_jsonl, plain_parquet
from trace_helpers import as_plain

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.formats.pipeline import import_logs
from traces.formats.reader import ImportOptions, RowCount
from traces.schema import COLUMNS


@pytest.fixture
def import_bytes(tmp_path):
    def run(data, format_name="auto", block_size=None, **column_map):
        log = tmp_path / "log"
        log.write_bytes(data if isinstance(data, bytes) else data.encode())
        options = ImportOptions(column_map, block_size)
        report = import_logs([log], tmp_path / "out.parquet", format_name, options)
        return report, list(open_trace(tmp_path / "out.parquet").iter_requests())

    return run


@pytest.mark.parametrize(
    ("name", "data"),
    [("csv", plain_csv()), ("jsonl", plain_jsonl()), ("parquet", plain_parquet())],
)
def test_one_table_is_one_trace_in_every_kind_of_file(import_bytes, name, data):
    report, requests = import_bytes(data, block_size=16)
    assert report.format == name
    assert (report.rows_read, report.rows_written) == (24, 21)
    place = "row" if name == "parquet" else "line"
    first = 2 if name == "csv" else 1
    assert report.skipped == {
        "output_tokens is 0": RowCount(1, f"{place} {8 + first}"),
        "cancel_ms is before the arrival": RowCount(1, f"{place} {10 + first}"),
        "its request id occurred before": RowCount(1, f"{place} {3 + first}"),
    }
    assert [as_plain(request)[:2] for request in requests[:3]] == [
        ("réquest/0", 0),
        ("réquest/6", 1000),
        ("réquest/1", 1_000_500),
    ]
    by_id = {as_plain(request)[0]: as_plain(request) for request in requests}
    assert by_id["request-000012"][1] == 12_006_000
    assert by_id["réquest/5"][4:] == ([1, 250, 251, 252], "s1", 5_252_500, 1)
    assert by_id["réquest/4"][4:] == (None, "s0", None, None)
    assert len(COLUMNS) == 8


def test_columns_of_any_name_are_mapped(import_bytes):
    table = "when\tprompt=len\tanswer\tuser\n2026-01-01T00:00:01Z\t7\t8\tann\n"
    report, (request,) = import_bytes(
        table,
        when="arrival_time",
        **{"prompt=len": "input_tokens", "answer": "output_tokens", "user": "session_id"},
    )
    assert report.format == "csv"
    assert as_plain(request) == ("request-000000", 0, 7, 8, None, "ann", None, None)


def test_a_mapped_column_is_not_also_the_field_of_its_own_name(import_bytes):
    row = '{"arrival_s": 1, "input_tokens": 5, "output_tokens": 6, "session_id": "x"}\n'
    _, (request,) = import_bytes(row, session_id="request_id")
    assert (request.request_id, request.session_id) == ("x", None)


@pytest.mark.parametrize(
    ("field", "value", "arrival_us"),
    [
        ("arrival_us", "12", 12),
        ("arrival_ms", "0.0125", 12),
        ("arrival_s", "1e-5", 10),
        ("arrival_ns", "12500", 12),
        ("arrival_s", "1700000000.000001", 0),
        ("arrival_time", "2026-01-01 10:00:00,5", 0),
    ],
)
def test_times_in_every_unit(import_bytes, field, value, arrival_us):
    table = f'{field};input_tokens;output_tokens\n"{value}";1;1\n'
    report, (request,) = import_bytes(table)
    assert request.arrival_us == arrival_us
    is_wall_clock = value.startswith(("17", "20"))
    assert (report.shifted_us > 0) == is_wall_clock


def test_parquet_times_with_zones_and_nanoseconds(import_bytes):
    when = datetime(2026, 1, 1, tzinfo=UTC)
    times = pa.array([when + timedelta(seconds=2), when]).cast(pa.timestamp("ns", "Asia/Tokyo"))
    sink = io.BytesIO()
    columns = {"arrival_time": times, "input_tokens": [1, 2], "output_tokens": [3.0, 4.0]}
    pq.write_table(pa.table(columns), sink)
    _, requests = import_bytes(sink.getvalue())
    assert [as_plain(r)[:4] for r in requests] == [
        ("request-000001", 0, 2, 4),
        ("request-000000", 2_000_000, 1, 3),
    ]


def test_a_trace_imported_again_is_the_same_trace(import_bytes, write_trace, tmp_path):
    from traces.synthesis import SynthesisOptions, write_synthetic_trace

    path = tmp_path / "synthetic.parquet"
    write_synthetic_trace(SynthesisOptions(requests=300, abort_rate=0.2), path)
    report, requests = import_bytes(path.read_bytes())
    assert report.format == "parquet"
    assert list(map(as_plain, requests)) == list(map(as_plain, open_trace(path).iter_requests()))
    assert open_trace(tmp_path / "out.parquet").block_size == open_trace(path).block_size


ROW = "arrival_s,input_tokens,output_tokens\n1,2,3\n"


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ("a,b\n1,2\n", {}, "is of no known format"),
        (ROW, {"arrival_s": "arrival"}, "--map: unknown field 'arrival'; known: request_id,"),
        ("a,b,c\n1,2,3\n", {"a": "input_tokens", "b": "input_tokens"}, "is assigned to 'a' and to"),
        (ROW, {"arrival_s": "arrival_ms", "x": "arrival_s"}, "are the same time; choose one"),
        (ROW, {"format_name": "mooncake", "a": "b"}, "omit --map"),
        ("arrival_s,arrival_s\n1,2\n", {"format_name": "csv"}, "line 1 repeats a column name"),
        (ROW + "4,5\n", {}, "line 3 has 2 cells where the header has 3"),
        (ROW + '"4\n' + "x" * 200_000 + "\n", {}, "line 3 is not CSV (unexpected end of data)"),
        (ROW.encode() + b"\xff\xfe\n", {}, "line 3 is not UTF-8 text"),
        (
            "arrival_s,input_tokens,output_tokens,block_hashes\n1,2,3,4\n",
            {},
            "say how many tokens one hash covers with --block-size",
        ),
        (plain_parquet()[:-9], {}, "no readable footer"),
        (b"PAR1" + b"x" * 50 + b"PAR1", {"format_name": "parquet"}, "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(import_bytes, tmp_path, data, settings, message):
    with pytest.raises(TraceError) as caught:
        import_bytes(data, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_unusable_values_are_counted(import_bytes):
    rows = [
        "arrival_s,input_tokens,output_tokens,priority,cancel_s",
        "1,2,3,4,",
        "1,2,3,400,",
        "1,2,3,1.5,",
        "1,2,3,,x",
        "x,2,3,,",
        "-1,2,3,,",
        "1,,3,,",
        "1,2," + "9" * 30 + ",,",
        "1," + "9" * 70 + ",3,,",
        "1e400,2,3,,",
        "1,2,NaN,,",
    ]
    report, requests = import_bytes("\n".join(rows) + "\n")
    assert len(requests) == 1
    assert {reason: count.rows for reason, count in report.skipped.items()} == {
        "priority is not from -128 to 127": 1,
        "priority is not a whole number": 1,
        "cancel_s is not a number": 1,
        "arrival_s is not a number": 2,
        "arrival_s is negative or out of range": 1,
        "input_tokens is missing": 1,
        "output_tokens is out of range": 1,
        "input_tokens is not a whole number": 1,
        "output_tokens is not a whole number": 1,
    }
