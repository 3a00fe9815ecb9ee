"""SGLang request metrics: made-up rows, with aborts in the queue and servers without metrics."""

import json

import pytest
from samples_engine_rows import (
    T0,
    compressed,
    expected,
    import_bytes,
    inputs,
    json_lines,
    kept,
    reasons,
)
from samples_engines import samples
from samples_sglang import SGLANG_METRICS, metrics_row
from trace_helpers import without_rows

from traces.errors import TraceError

LOG = samples()["sglang-metrics"]
ROWS, SKIPPED = expected(SGLANG_METRICS)


def test_every_row_becomes_what_it_was(tmp_path):
    report, rows = import_bytes(tmp_path, [LOG])
    assert rows == ROWS
    assert (report.format, report.rows_read) == ("sglang-metrics", len(SGLANG_METRICS))
    assert reasons(report.skipped) == SKIPPED
    assert report.skipped["completion_tokens is missing"].first_at == "line 11"
    assert report.shifted_us == T0 * 10**6
    assert reasons(report.changed) == {
        "aborted, and its planned output is unknown: kept with the tokens generated so far": 1,
        "priority is not from -128 to 127: kept without it": 1,
        "request_parameters is not a JSON object: kept without session and priority": 2,
    }


def test_line_ends_blank_lines_and_a_cut_last_line(tmp_path):
    blob = b"\xef\xbb\xbf" + json_lines(inputs(SGLANG_METRICS), "\r\n\r\n") + LOG[:300]
    report, rows = import_bytes(tmp_path, [blob])
    assert rows == ROWS
    assert reasons(report.skipped) == {**SKIPPED, "the last line is truncated": 1}


def test_raw_unicode_is_read_as_well_as_escapes(tmp_path):
    row = metrics_row("ключ☕", 0, 5, 6)
    blob = json.dumps(row, ensure_ascii=False).encode()
    assert import_bytes(tmp_path, [blob])[1] == [kept("ключ☕", 0, 5, 6)]


@pytest.mark.parametrize("blob", compressed(LOG))
def test_compressed(tmp_path, blob):
    assert import_bytes(tmp_path, [blob])[1] == ROWS


def test_two_files_are_one_trace(tmp_path):
    lines = LOG.splitlines(keepends=True)
    report, rows = import_bytes(tmp_path, [b"".join(lines[:9]), b"".join(lines[9:])])
    assert (report.files, without_rows(rows)) == (2, without_rows(ROWS))
    assert reasons(report.skipped) == SKIPPED


def test_files_without_rows_are_one_sentence(tmp_path):
    with pytest.raises(TraceError, match="has no rows from which to detect its format"):
        import_bytes(tmp_path, [b"\n"])
    with pytest.raises(TraceError, match=r"no row that can be imported as sglang-metrics \(there"):
        import_bytes(tmp_path, [b""], "sglang-metrics")


def test_a_torn_row_is_named(tmp_path):
    torn = LOG.splitlines(keepends=True)
    torn[3] = torn[3][:90] + torn[4]
    with pytest.raises(TraceError, match=r"log0: line 4 is not JSON .*--skip-bad-lines"):
        import_bytes(tmp_path, [b"".join(torn)])


@pytest.mark.parametrize("late_us", [0, 1])
def test_an_abort_beyond_what_a_trace_can_hold_is_skipped(tmp_path, late_us):
    row = metrics_row("r", 0, 5, 6, finish_reason={"type": "abort"})
    row |= {"request_received_ts": "4611686018427.387904", "request_finished_ts": None}
    row["e2e_latency"] = late_us / 1e6
    report, rows = import_bytes(tmp_path, [json_lines([metrics_row("q", 0, 5, 6), row])])
    assert len(rows) == 2 - late_us
    assert sum(reasons(report.skipped).values()) == late_us
