"""Dynamo request traces: made-up ones, as files hold them and as the documentation shows them."""

from sample_checks import (
    check_compressed,
    check_only_match,
    check_table,
    check_text,
    compress,
    import_bytes,
    json_lines,
    outcomes,
)
from samples_services import DYNAMO, dynamo
from trace_helpers import without_rows


def test_every_row_becomes_what_it_was(tmp_path):
    report = check_table(tmp_path, "dynamo", DYNAMO, dynamo())
    kept = ": kept without block hashes"
    hashes = "input_sequence_hashes"
    assert {reason: (count.rows, count.first_at) for reason, count in report.changed.items()} == {
        f"trace_block_size is missing{kept}": (1, "line 17"),
        f"{hashes} are not one per 64 tokens of the prompt{kept}": (1, "line 21"),
        f"{hashes} have another block size than the first{kept}": (1, "line 22"),
        f"trace_block_size is 0{kept}": (1, "line 23"),
        f"trace_block_size is not a whole number{kept}": (1, "line 24"),
        f"{hashes} is not a list of whole numbers{kept}": (1, "line 25"),
        f"{hashes} are not 64-bit numbers{kept}": (1, "line 26"),
    }
    assert report.shifted_us == 1_790_000_000_000_000


def test_line_ends_cut_lines_and_files_without_rows(tmp_path):
    check_text(tmp_path, "dynamo", DYNAMO, dynamo(), dynamo("\r\n"), 2)


def test_compressed(tmp_path):
    check_compressed(tmp_path, "dynamo", DYNAMO, dynamo())


def test_two_segments_of_many_gzip_members_are_one_trace(tmp_path):
    members = [compress(line, "gzip") for line in dynamo().splitlines(keepends=True)]
    report, rows = import_bytes(tmp_path, [b"".join(members[:7]), b"".join(members[7:])])
    assert (report.files, without_rows(rows)) == (2, without_rows(outcomes("dynamo", DYNAMO)[0]))


def test_a_file_is_told_by_any_record_wrapped_or_bare(tmp_path):
    for row, _ in DYNAMO[:9]:
        check_only_match(tmp_path, "dynamo", json_lines([row]))
        check_only_match(tmp_path, "dynamo", json_lines([{"event": [1]}, {"schema": [1]}, row]))
