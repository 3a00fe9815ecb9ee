"""vLLM spans: made-up ones, among spans of other services, in batches of any size."""

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
from samples_vllm import VLLM_OTLP, batches, span
from trace_helpers import without_rows

from traces.errors import TraceError

LOG = samples()["vllm-otlp"]
ROWS, SKIPPED = expected(VLLM_OTLP)


@pytest.mark.parametrize("per_line", [1, 3, 100])
def test_every_span_becomes_what_it_was(tmp_path, per_line):
    report, rows = import_bytes(tmp_path, [batches(inputs(VLLM_OTLP), per_line)])
    assert rows == ROWS
    assert (report.format, report.rows_read) == ("vllm-otlp", len(VLLM_OTLP))
    assert reasons(report.skipped) == SKIPPED
    assert report.skipped["the span is not an LLM request"].first_at == f"line {1 + 2 // per_line}"
    assert report.shifted_us == T0 * 10**6
    assert reasons(report.changed) == {
        "aborted, and its planned output is unknown: kept with the tokens generated so far": 1
    }


def test_line_ends_blank_lines_and_a_cut_last_line(tmp_path):
    blob = b"\xef\xbb\xbf" + batches(inputs(VLLM_OTLP), 3, "\r\n\r\n") + LOG[:300]
    report, rows = import_bytes(tmp_path, [blob])
    assert rows == ROWS
    assert reasons(report.skipped) == {**SKIPPED, "the last line is truncated": 1}


@pytest.mark.parametrize("blob", compressed(LOG))
def test_compressed(tmp_path, blob):
    assert import_bytes(tmp_path, [blob])[1] == ROWS


def test_two_files_are_one_trace(tmp_path):
    lines = LOG.splitlines(keepends=True)
    report, rows = import_bytes(tmp_path, [b"".join(lines[:4]), b"".join(lines[4:])])
    assert (report.files, without_rows(rows)) == (2, without_rows(ROWS))


def test_what_is_no_list_of_spans_is_counted(tmp_path):
    good = json.loads(batches([span("a", 0, 5, 6)]))
    odd = [
        {"resourceMetrics": []},
        {"resourceSpans": 7},
        {"resourceSpans": [None, []]},
        {"resourceSpans": [{"scopeSpans": {}}]},
        {"resourceSpans": [{"scopeSpans": [{"spans": "x"}, 5, {"spans": None}]}]},
    ]
    report, rows = import_bytes(tmp_path, [json_lines([good, *odd, {"resourceSpans": None}])])
    assert rows == [kept("a", 0, 5, 6)]
    assert reasons(report.skipped) == {"it is not a span": 7}


def test_files_without_requests_are_one_sentence(tmp_path):
    with pytest.raises(TraceError, match="has no rows from which to detect its format"):
        import_bytes(tmp_path, [b""])
    with pytest.raises(TraceError, match=r"\(there are no rows\)"):
        import_bytes(tmp_path, [b'{"resourceSpans": []}\n'])
    with pytest.raises(TraceError, match="2 x the span is not an LLM request"):
        import_bytes(tmp_path, [batches([{"name": "GET /"}, {}])])


def test_the_abort_stays_behind_the_arrival_when_times_are_shifted(tmp_path):
    report, rows = import_bytes(tmp_path, [batches([VLLM_OTLP[6][0]])])
    assert rows == [kept("cmpl-4", 0, 14, 128, None, 1.5)]
    assert report.shifted_us == (T0 + 2) * 10**6
