"""The page checks its own numbers: a sound recording passes, an edited one is found out."""

import json
import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from report_helpers import copy_changed

from replay.errors import RecordingError
from reports.evidence import load
from reports.page import render_report
from reports.parts.checks.part import reconcile
from reports.parts.tables import part as tables
from reports.section import make_section


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
        ("episodes", "blame", 0, "nobody", "episodes.parquet"),
        ("episodes", "gap_tokens", -1, 64, "episodes.parquet"),
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


@pytest.mark.slow
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


def test_episodes_too_few_are_found_out(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    episodes = pq.read_table(copy / "episodes.parquet")
    pq.write_table(episodes.slice(0, episodes.num_rows - 1), copy / "episodes.parquet")
    section = make_section(load(copy), "r1", charts=False)
    said = [check.claim for check in section.checks if not check.passed]
    assert len(said) == 2
    assert "episodes.parquet" in said[0] and "Episodes: a gap" in said[1]


@pytest.mark.parametrize("name", ["clean", "leak", "late", "busy", "over-free"])
def test_every_table_says_truly_of_how_many(recordings, name, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_MAX", 2)
    evidence = load(recordings[name])
    shown = make_section(evidence, "r1", charts=False).of(tables.TABLES) or ()
    checks = tables.check_tables(evidence, shown)
    assert len(checks) == len(shown)
    assert all(check.passed for check in checks)
    for table in shown:
        for wrong in (replace(table, of=table.of + 1), replace(table, rows=table.rows[:-1])):
            assert [check.passed for check in tables.check_tables(evidence, [wrong])] == [False]


def test_a_damaged_recording_is_one_sentence(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    run = json.loads((copy / "run.json").read_text())
    del run["pools"]
    (copy / "run.json").write_text(json.dumps(run))
    with pytest.raises(RecordingError, match="damaged"):
        load(copy)
