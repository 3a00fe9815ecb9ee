"""What all imports share: several files, compression, repeats, detection, nothing half-written."""

import io
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples_tables import azure, mooncake, samples
from trace_helpers import as_plain

from traces.dataset import open_trace
from traces.errors import OutputError, TraceError
from traces.formats import FORMATS
from traces.formats import source as log_source
from traces.formats.base import LogFormat, Sample, take_sample
from traces.formats.pipeline import import_logs
from traces.formats.reader import ImportOptions, LogReader, RowCount
from traces.formats.registry import load_format
from traces.formats.source import find_log_file
from traces.schema import TraceRequest
from traces.writer import TraceWriter


def compressed(data, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def line(**fields):
    row = {"arrival_s": 0, "input_tokens": 1, "output_tokens": 1} | fields
    return json.dumps(row) + "\n"


@pytest.fixture
def save(tmp_path):
    def write(name, data):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return tmp_path / name

    return write


def requests_of(path):
    return list(open_trace(path).iter_requests())


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("name", sorted(samples()))
def test_a_compressed_log_is_the_same_trace(save, tmp_path, name, codec):
    options = ImportOptions({}, 16 if name in ("csv", "jsonl", "parquet") else None)
    plain, packed = tmp_path / "plain.parquet", tmp_path / "packed.parquet"
    report = import_logs([save("log", samples()[name])], plain, options=options)
    assert report.format == name
    # The name says nothing: content decides.
    log = save("log.txt", compressed(samples()[name], codec))
    assert import_logs([log], packed, options=options) == report
    assert packed.read_bytes() == plain.read_bytes()


def test_gzip_members_that_follow_each_other_are_one_log(save, tmp_path):
    log = save("log.gz", compressed(line(request_id="a").encode(), "gzip") * 2)
    report = import_logs([log], tmp_path / "out.parquet")
    assert report.rows_read == 2
    assert report.skipped == {"its request id occurred before": RowCount(1, "line 2")}


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_damaged_archive_is_one_sentence(save, tmp_path, codec):
    whole = compressed(mooncake() * 50, codec)
    for data in (whole[: len(whole) // 2], whole[:40] + b"\xff" * 40 + whole[80:]):
        log = save("log", data)
        with pytest.raises(TraceError, match=r"log: (cannot be decompressed as|line|is of no)"):
            import_logs([log], tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_several_logs_are_merged_by_time_and_repeats_across_them_are_counted(save, tmp_path):
    one = save("one.jsonl", line(arrival_s=5, request_id="a") + line(arrival_s=1, request_id="b"))
    empty = save("empty.jsonl", "")
    two = save("two.jsonl", line(arrival_s=3, request_id="c") + line(arrival_s=9, request_id="a"))
    report = import_logs([one, empty, two], tmp_path / "out.parquet")
    assert [(r.request_id, r.arrival_us) for r in requests_of(tmp_path / "out.parquet")] == [
        ("b", 1_000_000),
        ("c", 3_000_000),
        ("a", 5_000_000),
    ]
    assert (report.files, report.rows_read, report.rows_written) == (3, 4, 3)
    assert report.skipped == {"its request id occurred before": RowCount(1, f"{two} line 2")}
    assert report.rows_reordered == 2


def test_rows_of_several_logs_that_tie_keep_the_order_of_the_logs(save, tmp_path):
    logs = [save(f"{name}.jsonl", line(session_id=name) * 3) for name in "zab"]
    import_logs(logs, tmp_path / "out.parquet")
    assert [r.session_id for r in requests_of(tmp_path / "out.parquet")] == [*"zzzaaabbb"]


def test_logs_of_two_formats_are_refused(save, tmp_path):
    logs = [save("a", mooncake()), save("b", azure())]
    with pytest.raises(TraceError, match=r"b: is azure but .*a is mooncake"):
        import_logs(logs, tmp_path / "out.parquet")


def test_what_is_no_log_is_refused_and_nothing_is_written(save, tmp_path):
    log = save("log.jsonl", line())
    out = tmp_path / "out.parquet"
    cases = [
        ([tmp_path / "none"], out, "auto", "no such file"),
        ([tmp_path], out, "auto", "is a directory; name the log files in it"),
        ([log], log, "auto", "which this command reads"),
        ([], out, "auto", "no log to import"),
        ([log], out, "xml", "unknown format 'xml'; known: auto, mooncake,"),
        ([log], tmp_path / "no" / "out", "auto", "cannot be written"),
        ([save("binary", b"\x00\x01\x02" * 99)], out, "auto", "is of no known format"),
        ([save("blank", b" \n\n")], out, "auto", "has no rows from which to detect its format"),
        ([save("text", "hello\n")], out, "auto", "is of no known format (it starts with b'hello"),
        ([save("list", "[1]\n")], out, "jsonl", "line 1 is not a JSON object"),
        ([save("odd", '{"a": 1}\n' * 2)], out, "jsonl", "2 x arrival_us is missing"),
    ]
    before = {path.name for path in tmp_path.iterdir()}
    for logs, destination, name, message in cases:
        with pytest.raises((OutputError, TraceError)) as caught:
            import_logs(logs, destination, name)
        assert message in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_an_interrupted_import_leaves_nothing(save, tmp_path, monkeypatch):
    log = save("log.jsonl", line() * 5)

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_logs([log], tmp_path / "out.parquet", on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        import_logs([log], tmp_path / "out.parquet", on_written=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_bad_lines_stop_the_import_or_are_counted(save, tmp_path):
    log = save("log.jsonl", line() + "{broken\n" + "[3]\n" + "\n" + line() + '{"cut": ')
    out = tmp_path / "out.parquet"
    with pytest.raises(TraceError, match=r"line 2 is not JSON \(.*--skip-bad-lines"):
        import_logs([log], out)
    report = import_logs([log], out, options=ImportOptions({}, skip_bad_lines=True))
    assert report.skipped == {
        "the line is not JSON": RowCount(1, "line 2"),
        "the line is not a JSON object": RowCount(1, "line 3"),
        "the last line is truncated": RowCount(1, "line 6"),
    }
    assert (report.rows_read, report.rows_written) == (5, 2)


def test_an_endless_line_is_refused(save, tmp_path, monkeypatch):
    monkeypatch.setattr(log_source, "LINE_BYTES_MAX", 1000)
    log = save("log.jsonl", line() + "x" * 2000)
    with pytest.raises(TraceError, match="line 2 is longer than 1000 bytes"):
        import_logs([log], tmp_path / "out.parquet", "jsonl")


def test_progress_ends_at_the_size_of_all_logs(save, tmp_path):
    logs = [save("a", mooncake()), save("b.gz", compressed(mooncake(), "gzip"))]
    read, written = [], []
    import_logs(
        logs,
        tmp_path / "out.parquet",
        on_progress=read.append,
        on_written=lambda done, total: written.append((done, total)),
    )
    assert read == sorted(read)
    assert read[-1] == sum(log.stat().st_size for log in logs)
    count = open_trace(tmp_path / "out.parquet").request_count
    assert written[-1] == (count, count)


def test_every_format_can_be_loaded_and_is_described():
    for name, description in FORMATS.items():
        assert isinstance(load_format(name), LogFormat)
        assert description


def test_no_two_formats_claim_one_log(save):
    for name, data in samples().items():
        sample = take_sample(find_log_file(save("log", data)))
        assert [other for other in FORMATS if load_format(other).matches(sample)] == [name]
    assert not [name for name in FORMATS if load_format(name).matches(Sample(b""))]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log(save, tmp_path):
    peaks = []
    for rows in (10_000, 30_000):
        numbers = ((row * 7919) % rows for row in range(rows))
        log = save("log.jsonl", "".join(line(arrival_s=number) for number in numbers))
        tracemalloc.start()
        import_logs([log], tmp_path / "out.parquet")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Eight bytes a request are remembered, twice, to find repeated ids.
    assert peaks[1] - peaks[0] < 20_000 * 60


def test_a_log_shipped_three_times_counts_once(save, tmp_path):
    # 9000 rows are several batches, and the later ones hold repeats only.
    for data in (line(request_id="a") * 1, "".join(line(arrival_s=n) for n in range(9000))):
        logs = [save(f"{copy}.jsonl", data) for copy in range(3)]
        report = import_logs(logs, tmp_path / "out.parquet")
        rows = data.count("\n")
        assert report.rows_written == rows
        assert report.skipped["its request id occurred before"].rows == 2 * rows


def test_rows_without_ids_of_different_logs_are_different_requests(save, tmp_path):
    header = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    days = []
    for day in (16, 17):
        log = save(f"{day}.csv", f"{header}2023-11-{day} 10:00:00,{day},1\n")
        days.append(tmp_path / f"{day}.parquet")
        import_logs([log], days[-1])
    report = import_logs(days, tmp_path / "both.parquet")
    assert (report.rows_written, report.skipped) == (2, {})
    # A log that has grown meanwhile keeps the names of its rows.
    long = "".join(line(arrival_s=n, input_tokens=n + 1) for n in range(500))
    old, new = save("old.jsonl", long), save("new.jsonl", long + line(arrival_s=900))
    assert import_logs([old, new], tmp_path / "out.parquet").rows_written == 501


@pytest.mark.real_tails
def test_a_hash_that_is_made_up_is_met_by_nobody(save, tmp_path):
    row = {"timestamp": 0, "input_length": 520, "output_length": 1, "hash_ids": [7]}
    logs = [save(n, json.dumps(row | {"timestamp": n}) + "\n") for n in ("1", "2")]
    logs += [save("3", (json.dumps(row) + "\n") * 2)]
    import_logs(logs, tmp_path / "out.parquet", "mooncake")
    tails = [int(r.block_hashes[1]) for r in requests_of(tmp_path / "out.parquet")]
    assert len(set(tails)) == len(tails) == 4


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
def test_a_mapped_column_that_no_log_has_is_refused(save, tmp_path, name):
    data = {
        "jsonl": line().encode(),
        "csv": b"arrival_s,input_tokens,output_tokens\n0,1,1\n",
        "parquet": samples()["parquet"],
    }[name]
    log = save("log", data)
    with pytest.raises(TraceError, match="--map: no log has a column 'usr'"):
        import_logs(
            [log], tmp_path / "out.parquet", "auto", ImportOptions({"usr": "session_id"}, 16)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_rows_of_a_log_without_any_mapped_column_are_counted(save, tmp_path):
    one, two = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table({"t": [1], "p": [2], "o": [3]}), one)
    pq.write_table(pa.table({"when": [1, 2, 3]}), two)
    logs = [save("one", one.getvalue()), save("two", two.getvalue())]
    names = {"t": "arrival_s", "p": "input_tokens", "o": "output_tokens"}
    report = import_logs(logs, tmp_path / "out.parquet", "auto", ImportOptions(names))
    assert (report.rows_read, report.rows_written) == (4, 1)
    assert report.skipped == {"arrival_s is missing": RowCount(3, f"{logs[1]} row 1")}


def test_ids_of_other_types_are_kept_or_counted(save, tmp_path):
    sink = io.BytesIO()
    columns = {
        "arrival_s": [0, 1, 2],
        "input_tokens": [1, 1, 1],
        "output_tokens": [1, 1, 1],
        "request_id": [b"a", b"b", b"\xff"],
        "session_id": [7.0, None, 7.5],
    }
    pq.write_table(pa.table(columns), sink)
    report = import_logs([save("log", sink.getvalue())], tmp_path / "out.parquet")
    rows = [as_plain(request) for request in requests_of(tmp_path / "out.parquet")]
    assert [(row[0], row[5]) for row in rows] == [
        ("a", "7"),
        ("b", None),
        ("request-000002", None),
    ]
    assert report.changed == {
        "request_id is neither text nor a whole number: kept with a new one": RowCount(1, "row 3"),
        "session_id is neither text nor a whole number: kept without it": RowCount(1, "row 3"),
    }


def test_a_block_size_that_means_nothing_is_refused(save, tmp_path):
    with pytest.raises(TraceError, match="--block-size: mooncake logs contain the block size"):
        import_logs(
            [save("log", mooncake())], tmp_path / "out.parquet", options=ImportOptions({}, 16)
        )


def test_a_bad_destination_is_refused_before_anything_is_read(save, tmp_path, monkeypatch):
    log = save("log.jsonl", line())
    monkeypatch.setattr(LogReader, "json_rows", None)
    with pytest.raises(OutputError, match="is a directory; name a file"):
        import_logs([log], tmp_path, "jsonl")


def test_names_that_are_not_utf8_are_names(save, tmp_path):
    log = tmp_path / "caf\udce9.jsonl"
    log.write_text(line())
    trace = tmp_path / "caf\udce9.parquet"
    import_logs([log], trace)
    again = import_logs([trace], tmp_path / f"{'x' * 247}.parquet"[-250:])
    assert again.rows_written == open_trace(trace).request_count == 1
    with (
        pytest.raises(TraceError, match="repeats 'a'"),
        TraceWriter(trace, source="", block_size=None) as writer,
    ):
        for request in [TraceRequest("a", 0, 1, 1)] * 5000:
            writer.write(request)
