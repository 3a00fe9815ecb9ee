"""BurstGPT logs: made-up ones in both layouts."""

import pytest
from sample_checks import (
    check_compressed,
    check_only_match,
    check_table,
    check_text,
    check_without_rows,
    import_bytes,
    outcomes,
)
from samples_datasets import BURSTGPT, BURSTGPT_FIRST_US, BURSTGPT_HEADER, burstgpt
from trace_helpers import without_rows

from traces.errors import TraceError


def test_every_row_becomes_what_it_was(tmp_path):
    report = check_table(tmp_path, "burstgpt", BURSTGPT, burstgpt())
    assert report.changed == {}
    assert report.shifted_us == BURSTGPT_FIRST_US
    assert report.rows_reordered == 3
    assert report.skipped["Request tokens is 0"].first_at == "line 7"


def test_line_ends_cut_lines_and_files_without_rows(tmp_path):
    check_text(
        tmp_path, "burstgpt", BURSTGPT, burstgpt(), burstgpt("\r\n"), len(",10,1,11,API log\n")
    )
    header = BURSTGPT_HEADER.encode()
    check_without_rows(tmp_path, "burstgpt", [header, header + b"\r\n"])
    check_only_match(tmp_path, "burstgpt", header)


def test_compressed(tmp_path):
    check_compressed(tmp_path, "burstgpt", BURSTGPT, burstgpt())


def test_two_files_are_one_trace(tmp_path):
    lines = burstgpt().splitlines(keepends=True)
    report, rows = import_bytes(tmp_path, [b"".join(lines[:9]), lines[0] + b"".join(lines[9:])])
    assert (report.files, without_rows(rows)) == (
        2,
        without_rows(outcomes("burstgpt", BURSTGPT)[0]),
    )


def test_the_layout_without_sessions(tmp_path):
    blob = (
        b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        b"7,ChatGPT,401,22,423,Conversation log\n"
        b"7,GPT-4,0,0,0,Conversation log\n"
        b"31,GPT-4,1210,345,1555,API log\n"
    )
    check_only_match(tmp_path, "burstgpt", blob)
    report, rows = import_bytes(tmp_path, [blob])
    assert rows == [
        ("burstgpt-000000", 0, 401, 22, None, None, None, None),
        ("burstgpt-000002", 24_000_000, 1210, 345, None, None, None, None),
    ]
    assert report.rows_read == 3


def test_a_header_with_some_of_the_columns_is_another_format(tmp_path):
    with pytest.raises(TraceError, match="is of no known format"):
        import_bytes(tmp_path, [b"Timestamp,Request tokens,Answer\n1,2,3\n"])


@pytest.mark.parametrize("row", ["1,s,1,ChatGPT", "1,s,1,ChatGPT,1,1,2,API log,more"])
def test_a_row_of_other_width_is_named_and_nothing_is_written(tmp_path, row):
    blob = f"{BURSTGPT_HEADER}\n{row}\n{BURSTGPT[0][0]}\n".encode()
    with pytest.raises(TraceError, match=r"log0: line 2 has \d cells where the header has 8"):
        import_bytes(tmp_path, [blob])
    assert [path.name for path in tmp_path.iterdir()] == ["log0"]
