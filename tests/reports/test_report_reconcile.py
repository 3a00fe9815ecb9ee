"""The page checks its own numbers: a sound recording passes, an edited one is found out."""

import json
import re

import pytest
from report_helpers import copy_changed

from replay.errors import RecordingError
from reports.evidence import load
from reports.page import render_report
from reports.reconcile import reconcile


def failed(directory):
    return [check.claim for check in reconcile(load(directory)) if not check.passed]


@pytest.mark.parametrize("name", ["clean", "leak", "late", "busy", "over-free"])
def test_a_sound_recording_passes_every_check(recordings, name):
    assert failed(recordings[name]) == []
    assert len(reconcile(load(recordings[name]))) >= 7


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "claim"),
    [
        ("audits", "available", 30, 64, "total"),
        ("audits", "gap", 30, 6400, "owners' pages"),
        ("owners", "pages", -1, 9999, "at the end"),
        ("owners", "opened_audit", -1, 3, "in every audit, the owners' pages"),
        ("events", "delivered_us", 2, None, "deliveries ="),
        ("events", "event", 9, 9000, "deliveries ="),
        ("events", "rule", 0, "somebody", "faults seen"),
        ("requests", "cycle", 0, 1, "requests recorded"),
        ("requests", "decode_state", 0, "transfer", "summary.json"),
    ],
)
def test_an_edited_cell_is_found_out(recordings, tmp_path, table, column, row, value, claim):
    changes = {"rule": "fault"}
    copy = copy_changed(recordings["leak"], tmp_path / "copy", table, column, row, value)
    if column in changes:
        copy = copy_changed(copy, tmp_path / "copy2", table, changes[column], row, "drop")
    if column == "delivered_us":
        # Lost, it would have to be among the dropped; this one just vanished.
        copy = copy_changed(copy, tmp_path / "copy2", table, "event", -1, 9000)
    assert any(claim in each for each in failed(copy))


def test_an_edited_summary_is_found_out(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    path = copy / "summary.json"
    summary = json.loads(path.read_text())
    summary["verdict"] = "clean"
    path.write_text(json.dumps(summary))
    assert [claim for claim in failed(copy) if "summary.json" in claim]
    page = render_report([copy])
    assert re.search(r"1 of \d+ checks failed", page)
    assert "PERSISTENT" in page


def test_a_damaged_recording_is_one_sentence(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    run = json.loads((copy / "run.json").read_text())
    del run["pools"]
    (copy / "run.json").write_text(json.dumps(run))
    with pytest.raises(RecordingError, match="damaged"):
        load(copy)
