"""Texts in UTF-16 and with byte order marks, whole and in pieces, and imports of such logs."""

import codecs
import gzip
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.cli import run_command_line
from traces.byte_order import AsUtf8
from traces.dataset import open_trace

MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def read(pieces):
    text = AsUtf8()
    return b"".join([*map(text.feed, pieces), text.feed(b"", is_last=True)])


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


@given(TEXT, st.sampled_from(list(MARKS)), st.lists(st.integers(0, 1000), max_size=5))
def test_a_text_with_a_mark_is_the_same_however_it_is_cut(text, encoding, places):
    # A UTF-16 text that begins with NUL has the mark of UTF-32.
    text = text.lstrip("\x00")
    data = MARKS[encoding] + text.encode(encoding)
    assert read(cut(data, places)) == text.encode()


@given(st.binary(), st.lists(st.integers(0, 1000), max_size=5))
def test_bytes_without_a_mark_pass_as_they_are(data, places):
    if not any(data.startswith(mark) for mark in MARKS.values()):
        assert read(cut(data, places)) == data


@given(st.binary(), st.sampled_from(list(MARKS)), st.lists(st.integers(0, 1000), max_size=5))
def test_whatever_follows_a_mark_is_text_in_the_end(data, encoding, places):
    if encoding != "utf-8":
        read(cut(MARKS[encoding] + data, places)).decode("utf-8")


def test_ordinary_bytes_are_neither_held_nor_copied():
    text, data = AsUtf8(), b"[2026-01-12 10:00:00] x\n"
    assert text.feed(data) == data
    assert text.feed(data) is data


def test_half_a_character_at_the_end_is_told_as_one():
    assert read([codecs.BOM_UTF16_LE + "ab".encode("utf-16-le")[:-1]]).decode() == "a\ufffd"


ROWS = [
    {"timestamp": at * 100, "input_length": 40, "output_length": 4, "hash_ids": [at]}
    for at in range(50)
]
JSON_LINES = "\r\n".join(map(json.dumps, ROWS)) + "\r\n"
CSV = "id,at,prompt,answer\r\n" + "".join(f"é{at},{at},40,4\r\n" for at in range(50))


@pytest.mark.parametrize("encoding", list(MARKS))
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_logs_in_any_of_these_are_imported_alike(tmp_path, encoding, pack):
    found = []
    for name, data in (("plain", JSON_LINES.encode()), ("marked", None)):
        data = data or MARKS[encoding] + JSON_LINES.encode(encoding)
        (tmp_path / name).write_bytes(pack(data))
        trace = tmp_path / f"{name}.parquet"
        assert run_command_line(["trace", "import", str(tmp_path / name), "-o", str(trace)]) == 0
        found.append(
            [(each.request_id, each.arrival_us) for each in open_trace(trace).iter_requests()]
        )
    assert found[0] == found[1]
    assert len(found[0]) == 50


def test_a_table_in_utf_16_keeps_its_names(tmp_path):
    (tmp_path / "log.csv").write_bytes(codecs.BOM_UTF16_LE + CSV.encode("utf-16-le"))
    words = [
        "trace",
        "import",
        str(tmp_path / "log.csv"),
        "--format",
        "csv",
        "-o",
        str(tmp_path / "t"),
    ]
    for column, field in (
        ("id", "request_id"),
        ("at", "arrival_s"),
        ("prompt", "input_tokens"),
        ("answer", "output_tokens"),
    ):
        words += ["--map", f"{column}={field}"]
    assert run_command_line(words) == 0
    assert [each.request_id for each in open_trace(tmp_path / "t").iter_requests()][:2] == [
        "é0",
        "é1",
    ]


def test_a_log_that_breaks_off_within_a_character_loses_its_last_row_only(tmp_path, capsys):
    data = codecs.BOM_UTF16_LE + JSON_LINES.rstrip().encode("utf-16-le")
    (tmp_path / "log").write_bytes(data[:-7])
    words = ["trace", "import", str(tmp_path / "log"), "-o", str(tmp_path / "t"), "--json"]
    assert run_command_line(words) == 0
    assert json.loads(capsys.readouterr().out)["rows_written"] == 49
