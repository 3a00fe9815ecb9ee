"""`kvreplay report`: every kind of output, every bad input, and nothing half-written."""

import gzip
import json
import os

import pytest
from report_helpers import HOSTILE, copy_changed

from replay.cli import run_command_line
from reports.outputs.together import Output, written_together
from traces.errors import OutputError

BEGINNINGS = {
    "page.html": b"<!doctype html>",
    "comment.md": b"<!-- kvreplay.report/1 -->",
    "data.json": b'{\n  "schema": "kvreplay.report/1"',
    "timeline.svg": b"<svg",
    "timeline.png": b"\x89PNG",
}


def files(directory):
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


def one_sentence(capsys):
    message = capsys.readouterr().err
    assert message.startswith("kvreplay: ")
    assert message.count("\n") == 1
    return message


@pytest.mark.slow
@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_suffix_says_what_is_made(recordings, work_dir, capsys, name):
    leak = str(recordings["leak"])
    assert run_command_line(["report", leak, "-o", f"new/{name}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["path"] for each in told["outputs"]] == [f"new/{name}"]
    assert told["report"] == (f"new/{name}" if name.endswith(".html") else None)
    first = (work_dir / "new" / name).read_bytes()
    assert first.startswith(BEGINNINGS[name])
    assert run_command_line(["report", leak, "-o", f"new/{name}"]) == 0, "its own it replaces"
    assert (work_dir / "new" / name).read_bytes() == first, "the same bytes"
    assert files(work_dir) == [name]


def test_several_at_once_and_what_is_printed(recordings, work_dir, capsys):
    pair = [str(recordings["leak"]), str(recordings["clean"])]
    assert run_command_line(["report", *pair, "-o", "a.md", "-o", "b.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["verdict"] for each in told["verdicts"]] == ["persistent", "clean"]
    assert told["comparison"]["change"] == "gone"
    assert run_command_line(["report", *pair, "-o", "a.md"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "a.md: 2 recordings"
    assert "the leak is gone" in printed
    assert files(work_dir) == ["a.md", "b.json"]


def test_without_a_name_it_is_report_html(recordings, work_dir):
    assert run_command_line(["report", str(recordings["clean"])]) == 0
    assert files(work_dir) == ["report.html"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["LEAK", "-o", "x.pdf"], "x.pdf: unknown kind of output; its suffix must be .html"),
        (["LEAK", "-o", "x"], "x: unknown kind of output"),
        (["LEAK", "--perfetto", "x.html"], "x.html: a trace file must be named"),
        (["LEAK", "-o", "x.md", "-o", "./x.md"], "is named twice"),
        (["LEAK", "-o", "x.json", "--perfetto", "x.json"], "is named twice"),
        (["LEAK", "LEAK"], "is given twice"),
        (["LEAK", "LEAK/."], "is given twice"),
        (["LEAK/run.json"], "is a file; name the directory of a recording"),
        (["LEAK", "CLEAN", "--perfetto", "x.json.gz"], "a trace file shows one recording"),
        (["missing", "-o", "x.md"], "not a recording"),
        (["missing", "--perfetto", "x.json.gz"], "not a recording"),
        (["LEAK", "-o", "mine.md"], "mine.md: exists and is not"),
        (["LEAK", "-o", "mine.json"], "mine.json: exists and is not"),
        (["LEAK", "--perfetto", "mine.json"], "mine.json: exists and is not"),
        (["LEAK", "-o", "folder.md"], "folder.md: is a directory"),
        (["LEAK", "-o", "mine.md/x.md"], "mine.md/x.md: cannot"),
        (["LEAK", "-o", "ok.html", "-o", "mine.md"], "mine.md: exists and is not"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(recordings, work_dir, capsys, words, said):
    (work_dir / "mine.md").write_text("# mine")
    (work_dir / "mine.json").write_text("{}")
    (work_dir / "folder.md").mkdir()
    before = sorted(work_dir.rglob("*"))
    places = {"LEAK": str(recordings["leak"]), "CLEAN": str(recordings["clean"])}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    assert run_command_line(["report", *words]) == 2
    assert said in one_sentence(capsys)
    assert sorted(work_dir.rglob("*")) == before
    assert (work_dir / "mine.md").read_text() == "# mine"


def test_what_cannot_be_made_leaves_none_of_the_others(recordings, work_dir, capsys):
    """The third output fails, so the first two, in a folder that was made for them, go too."""
    copy = copy_changed(recordings["leak"], work_dir / "copy")
    (copy / "episodes.parquet").write_bytes(b"no table")
    words = ["-o", "new/a.md", "-o", "new/b.json", "--perfetto", "new/deep/c.json.gz"]
    assert run_command_line(["report", "copy", *words]) == 2
    assert "episodes.parquet" in one_sentence(capsys)
    assert [path.name for path in work_dir.iterdir()] == ["copy"]


def test_a_full_disk_leaves_the_earlier_files(recordings, work_dir, capsys, monkeypatch):
    clean = str(recordings["clean"])
    words = ["-o", "a.md", "--perfetto", "b.json.gz"]
    assert run_command_line(["report", clean, *words]) == 0
    before = {name: (work_dir / name).read_bytes() for name in files(work_dir)}
    capsys.readouterr()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run_command_line(["report", str(recordings["leak"]), *words]) == 2
    assert "No space left" in one_sentence(capsys)
    assert {name: (work_dir / name).read_bytes() for name in files(work_dir)} == before


def test_a_name_taken_meanwhile_is_one_sentence(work_dir):
    """The first output was in its new folder already, and both go again."""
    outputs = [Output(work_dir / "new" / "a.md", ".md"), Output(work_dir / "b.md", ".md")]
    with (
        pytest.raises(OutputError, match=r"b\.md: exists and is not"),
        written_together(outputs) as working,
    ):
        for path in working:
            path.write_text("<!-- kvreplay.report/1 -->")
        outputs[1].path.mkdir()
    assert [path.name for path in work_dir.iterdir()] == ["b.md"]


def test_the_document_has_no_array_as_text(recordings, work_dir):
    assert run_command_line(["report", str(recordings["leak"]), "-o", "a.json"]) == 0
    [recording] = json.loads((work_dir / "a.json").read_text())["recordings"]
    assert recording["latency"]["groups"][0]["first_token"]["p50_us"] > 0
    for group in recording["parts"]["latency"]["groups"]:
        assert not any(group[name] for name in ("first_token", "inter_token", "end_to_end"))


@pytest.mark.slow
def test_hostile_names_are_text_in_every_output(recordings, work_dir):
    pair = [str(recordings["leak"]), str(recordings["over-free"])]
    outputs = ["-o", "a.html", "-o", "b.md", "-o", "c.json", "-o", "d.svg"]
    assert run_command_line(["report", *pair, *outputs]) == 0
    for name in ("a.html", "d.svg"):
        assert HOSTILE not in (work_dir / name).read_text()
    rows = json.loads((work_dir / "c.json").read_text())["recordings"]
    assert any(row["request_id"] == f"r2{HOSTILE}" for row in rows[0]["owners"]["rows"])
    assert run_command_line(["report", pair[0], "--perfetto", "t.json.gz"]) == 0
    events = json.loads(gzip.decompress((work_dir / "t.json.gz").read_bytes()))["traceEvents"]
    assert any(event["name"] == f"r2{HOSTILE}" for event in events)
