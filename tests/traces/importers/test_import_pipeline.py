"""What all imports share: several files, compression, repeats, detection, nothing half-written."""

import json
import tracemalloc

import pyarrow as pa
import pytest
from samples_tables import azure, mooncake, samples

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.importers import FORMATS
from traces.importers import source as log_source
from traces.importers.pipeline import import_logs
from traces.importers.reader import ImportOptions
from traces.importers.registry import LogFormat, load_format
from traces.importers.sample import Sample, take_sample
from traces.importers.source import find_log_file
from traces.importers.tally import RowCount


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
    assert report.skipped == {"its request id was there before": RowCount(1, "line 2")}


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
    assert report.skipped == {"its request id was there before": RowCount(1, f"{two} line 2")}
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
        ([log], log, "auto", "is the log itself"),
        ([], out, "auto", "no log to import"),
        ([log], out, "xml", "unknown format 'xml'; known: auto, mooncake,"),
        ([log], tmp_path / "no" / "out", "auto", "cannot be written"),
        ([save("binary", b"\x00\x01\x02" * 99)], out, "auto", "is of no known format"),
        ([save("blank", b" \n\n")], out, "auto", "has no rows to tell its format from"),
        ([save("text", "hello\n")], out, "auto", "is of no known format (it starts with b'hello"),
        ([save("list", "[1]\n")], out, "jsonl", "line 1 is not a JSON object"),
        ([save("odd", '{"a": 1}\n' * 2)], out, "jsonl", "2 x arrival_us is missing"),
    ]
    before = {path.name for path in tmp_path.iterdir()}
    for logs, destination, name, message in cases:
        with pytest.raises(TraceError) as caught:
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
        "the last line is cut short": RowCount(1, "line 6"),
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
    for name, (_, description) in FORMATS.items():
        assert isinstance(load_format(name), LogFormat)
        assert description


def test_no_two_formats_claim_one_log(save):
    for name, data in samples().items():
        sample = take_sample(find_log_file(save("log", data)))
        assert [other for other in FORMATS if load_format(other).matches(sample)] == [name]
    assert not [name for name in FORMATS if load_format(name).matches(Sample(b""))]


def test_memory_does_not_grow_with_the_log(save, tmp_path):
    peaks = []
    for rows in (20_000, 80_000):
        numbers = ((row * 7919) % rows for row in range(rows))
        log = save("log.jsonl", "".join(line(arrival_s=number) for number in numbers))
        tracemalloc.start()
        import_logs([log], tmp_path / "out.parquet")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Eight bytes a request are remembered, twice, to find repeated ids.
    assert peaks[1] - peaks[0] < 60_000 * 60
