"""AIPerf records: made-up ones, with requests that failed and requests that were cancelled."""

from sample_checks import (
    check_compressed,
    check_only_match,
    check_table,
    check_text,
    import_bytes,
    json_lines,
    outcomes,
)
from samples_services import AIPERF, aiperf
from trace_helpers import without_rows


def test_every_row_becomes_what_it_was(tmp_path):
    report = check_table(tmp_path, "aiperf", AIPERF, aiperf())
    assert {reason: (count.rows, count.first_at) for reason, count in report.changed.items()} == {
        "cancelled, and its planned output is unknown: kept with 1 token": (1, "line 4")
    }
    assert report.shifted_us == 1_790_000_000_000_000


def test_line_ends_cut_lines_and_files_without_rows(tmp_path):
    check_text(tmp_path, "aiperf", AIPERF, aiperf(), aiperf("\r\n"), 3)


def test_compressed(tmp_path):
    check_compressed(tmp_path, "aiperf", AIPERF, aiperf())


def test_two_files_are_one_trace(tmp_path):
    lines = aiperf().splitlines(keepends=True)
    report, rows = import_bytes(tmp_path, [b"".join(lines[:3]), b"".join(lines[3:])])
    assert (report.files, without_rows(rows)) == (2, without_rows(outcomes("aiperf", AIPERF)[0]))


def test_a_file_is_told_by_any_row(tmp_path):
    odd = [{"metadata": 1, "metrics": 1}, {"metadata": {"request_start_ns": 1}}]
    check_only_match(tmp_path, "aiperf", json_lines([*odd, AIPERF[0][0]]))


def test_the_cancel_stays_behind_the_arrival_when_times_are_shifted(tmp_path):
    row = AIPERF[3][0]
    report, rows = import_bytes(tmp_path, [json_lines([row])])
    assert rows == [("d", 0, 548, 1, None, "x2", 2_500_000, None)]
    assert report.shifted_us == row["metadata"]["request_start_ns"] // 1000
