"""Azure traces: made-up ones, good and ugly, and the published one of 2023."""

import os
from pathlib import Path

import pytest
from samples_tables import azure
from trace_helpers import as_plain, without_log

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.formats.pipeline import import_logs
from traces.formats.reader import RowCount

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.fixture
def import_text(tmp_path):
    def run(text, **options):
        log = tmp_path / "azure.csv"
        log.write_bytes(text if isinstance(text, bytes) else text.encode())
        report = import_logs([log], tmp_path / "out.parquet", **options)
        return report, list(open_trace(tmp_path / "out.parquet").iter_requests())

    return run


def test_times_start_at_the_first_arrival_whatever_their_shape(import_text):
    report, requests = import_text(
        HEADER
        + "2023-11-16 18:15:46.6805900,374,44\n"
        + "2023-11-16 18:15:47.6805909,396,109\n"
        + "2023-11-16 19:15:46.680590+01:00,1,1\n"
        + "2023-11-16T18:15:48Z,2,2"
    )
    assert report.format == "azure"
    assert report.shifted_us == 1_700_158_546_680_590
    assert [as_plain(request)[:4] for request in requests] == [
        ("azure-000000", 0, 374, 44),
        ("azure-000002", 0, 1, 1),
        ("azure-000001", 1_000_000, 396, 109),
        ("azure-000003", 1_319_410, 2, 2),
    ]
    assert report.rows_reordered == 1


def test_an_untidy_log_is_counted_row_by_row(import_text):
    report, requests = import_text(azure())
    assert report.rows_read == 22
    assert report.skipped == {
        "GeneratedTokens is 0: nothing was generated": RowCount(1, "line 7"),
        "ContextTokens is missing": RowCount(1, "line 8"),
        "TIMESTAMP is not a date and time": RowCount(1, "line 9"),
    }
    assert len(requests) == report.rows_written == 19
    assert without_log(requests[0].request_id) == "azure-000004"
    # A day of 2024 among those of 2023 is the last.
    assert without_log(requests[-1].request_id) == "azure-000003"


def test_a_row_cut_short_at_the_end_is_counted(import_text):
    report, requests = import_text(HEADER + "2023-11-16 18:15:46,374,44\n2023-11-16 18:1")
    assert report.skipped == {"the last line is truncated": RowCount(1, "line 3")}
    assert len(requests) == 1


def test_a_short_row_elsewhere_stops_the_import_unless_asked(import_text):
    text = HEADER + "2023-11-16 18:15:46,374,44\n2023-11-16 18:1\n2023-11-16 18:15:48,1,1\n"
    with pytest.raises(TraceError, match=r"azure.csv: line 3 has 1 cells where the header has 3"):
        import_text(text)
    from traces.formats.reader import ImportOptions

    report, requests = import_text(text, options=ImportOptions({}, skip_bad_lines=True))
    assert report.skipped == {"the line has 1 cells where the header has 3": RowCount(1, "line 3")}
    assert len(requests) == 2


@pytest.mark.parametrize("text", ["", HEADER, HEADER[:-1], "\n\n"])
def test_a_log_without_rows_is_refused(import_text, tmp_path, text):
    with pytest.raises(TraceError, match="no row"):
        import_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["azure.csv"]


def test_the_published_conversation_trace(tmp_path):
    root = os.environ.get("KVREPLAY_DATA")
    data = Path(root) if root else Path(__file__).resolve().parents[4] / "shared" / "data"
    log = data / "traces" / "azure-2023" / "AzureLLMInferenceTrace_conv.csv"
    if not log.is_file():
        pytest.skip(f"no real Azure log at {log}; set KVREPLAY_DATA to the folder of data sets")
    assert not log.read_bytes().endswith(b"\n")
    report = import_logs([log], tmp_path / "out.parquet")
    assert (report.rows_read, report.rows_written, report.skipped) == (19366, 19366, {})
    requests = list(open_trace(tmp_path / "out.parquet").iter_requests())
    assert requests[0].arrival_us == 0
    assert requests[-1].arrival_us == pytest.approx(3_501_720_000, abs=10_000)
    last_line = log.read_text().splitlines()[-1].split(",")
    assert [str(requests[-1].input_tokens), str(requests[-1].output_tokens)] == last_line[1:]
