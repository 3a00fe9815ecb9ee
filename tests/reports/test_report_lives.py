"""The lives of the worst gap's owners stand on the page, from the recording alone."""

import re
import shutil

import pyarrow.parquet as pq
import pytest
from report_helpers import HOSTILE

from replay.explain.subject import choose_request
from replay.recording.reader import Recording
from reports.page import render_report

HEADING = "What happened to the first owners of the worst gap"


def test_each_life_names_the_fault_where_it_begins(recordings):
    page = render_report([recordings["leak"]], charts=False)
    assert HEADING in page
    row = re.search(r'<tr class="blame">.*?</tr>', page, re.DOTALL).group()
    assert "it begins here" in row
    assert "rule lost, event" in row
    assert "is sent: it is lost on its way" in row
    assert "was dropped at" in page
    lost = pq.read_table(recordings["leak"] / "events.parquet").to_pylist()
    numbers = {row["event"] for row in lost if row["outcome"] == "lost"}
    assert int(re.search(r"event ([\d,]+)", row).group(1).replace(",", "")) in numbers


def test_a_clean_recording_has_no_lives(recordings):
    assert HEADING not in render_report([recordings["clean"]], charts=False)


def test_it_needs_no_trace(recordings, tmp_path):
    """The recording is enough, wherever it is."""
    shutil.copytree(recordings["leak"], tmp_path / "alone")
    assert HEADING in render_report([tmp_path / "alone"], charts=False)


@pytest.mark.parametrize("hostile", [HOSTILE, "\x07\x1b[2J", "q" * 10_000])
def test_hostile_names_are_text(recordings, tmp_path, hostile):
    copy = tmp_path / "copy"
    shutil.copytree(recordings["leak"], copy)
    guilty, _ = choose_request(Recording.open(copy))
    for table in ("owners", "requests", "events"):
        path = copy / f"{table}.parquet"
        before = pq.read_table(path)
        rows = [
            {**row, "request_id": hostile} if row["request_id"] == guilty else row
            for row in before.to_pylist()
        ]
        pq.write_table(before.schema.empty_table().from_pylist(rows, before.schema), path)
    page = render_report([copy], charts=False)
    assert HEADING in page
    assert "<script>alert" not in page
    assert "<img" not in page
