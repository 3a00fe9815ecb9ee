"""The twenty defects that were found in half an hour, each with its command, as they should come out.

Each stands for a kind; `test_zoo_of_places`, `test_killed_writers`, the tests of hostile text and of bad
input try the kinds.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from waiting import wait_until

from replay.cli import run_command_line
from replay.recording.reader import Recording
from traces.schema import TraceRequest
from traces.writer import TraceWriter

MATRIX = """\
name = "own"
[axes]
profile = ["hardened"]
topology = ["tp1:tp1"]
total_tokens = [65536]
trace = ["{trace}"]
[[expect]]
verdict = "clean"
"""
ESCAPES = "\x1b[31mRED\x1b[0m\x1b]0;owned\x07\u202egnp.exe\u200b"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["trace", "synth", "-o", "e5.parquet", "--requests", "5"]) == 0
    return tmp_path


def run(*words):
    return ("run", "e5.parquet", "--profile", "hardened", *words)


def refused(result, *said):
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("kvreplay: ") and err.count("\n") == 1
    for each in said:
        assert each in err
    return True


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_01_a_tree_that_holds_a_run_json_is_not_deleted(here, kvreplay):
    (here / "proj/src").mkdir(parents=True)
    (here / "proj/run.json").write_text("{}")
    (here / "proj/src/thesis.tex").write_text("precious")
    before = tree(here)
    assert refused(kvreplay(*run("--out", "proj")), "proj: exists and is not a recording")
    assert tree(here) == before


@pytest.mark.parametrize("name", ["notes.txt", "report.html"])
def test_01_nor_are_notes_in_the_folder_of_a_real_recording(here, kvreplay, name):
    assert kvreplay(*run("--out", "rec"))[0] == 0
    (here / "rec" / name).write_text("precious")
    before = tree(here)
    assert refused(kvreplay(*run("--out", "rec")), "rec: exists and is not a recording", name)
    assert tree(here) == before


@pytest.mark.parametrize(
    "target", ["e5.parquet", "link.parquet", "hard.parquet", "plan.toml", "eng.txt"]
)
def test_02_an_engine_log_replaces_no_input_and_nothing_foreign(here, kvreplay, target):
    (here / "plan.toml").write_text('[[rule]]\nname = "lose"\nfault = "drop"\n')
    (here / "eng.txt").write_text("precious")
    (here / "link.parquet").symlink_to("e5.parquet")
    os.link("e5.parquet", "hard.parquet")
    before = tree(here)
    words = run("--plan", "plan.toml", "--engine-log", target)
    assert refused(kvreplay(*words), f"{target}: ")
    assert tree(here) == before


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_03_results_of_a_matrix_do_not_replace_its_own_file(here, kvreplay, option):
    (here / "own.kvmatrix.toml").write_text(MATRIX.format(trace="e5.parquet"))
    before = tree(here)
    words = ("matrix", "run", "own.kvmatrix.toml", "--out", "OW", option, "own.kvmatrix.toml")
    assert refused(
        kvreplay(*words), "own.kvmatrix.toml: is own.kvmatrix.toml, which this command reads"
    )
    assert tree(here) == before


def test_04_a_place_named_through_itself_is_the_same_place(here, kvreplay):
    assert kvreplay(*run("--out", "rec"))[0] == 0
    assert kvreplay(*run("--out", "rec/../rec"))[0] == 0
    assert sorted(path.name for path in here.iterdir()) == ["e5.parquet", "rec"]
    assert Recording.open(here / "rec").summary()["verdict"] == "clean"


def test_06_a_foreign_cells_folder_beside_a_lock_is_left_alone(here, kvreplay):
    (here / "m.kvmatrix.toml").write_text(MATRIX.format(trace="e5.parquet"))
    (here / "pr/cells").mkdir(parents=True)
    (here / "pr/.lock").write_text("")
    (here / "pr/cells/mine.txt").write_text("mine")
    before = tree(here)
    words = ("matrix", "run", "m.kvmatrix.toml", "--jobs", "1", "--out", "pr")
    assert refused(kvreplay(*words), "pr: exists and is not a matrix directory", "cells")
    assert tree(here) == before


@pytest.mark.parametrize("name", ["plan.toml", "trace.parquet", "recording"])
def test_07_reproduce_replaces_only_what_it_wrote(here, kvreplay, name):
    (here / "st2").mkdir()
    (here / "st2" / name).write_text("mine")
    before = tree(here)
    words = ("--available", 13824256, "--total", 13858304, "--page-size", 64, "--out", "st2")
    assert refused(kvreplay("reproduce", *words), "st2: exists and is not", name)
    assert tree(here) == before


def test_08_the_umask_is_respected(here, kvreplay):
    before = os.umask(0o077)
    try:
        assert kvreplay(*run("--out", "um", "--engine-log", "um.log"))[0] == 0
        assert kvreplay("report", "um", "-o", "um.html", "-o", "um.md")[0] == 0
    finally:
        os.umask(before)
    for path in (
        here / "um",
        here / "um.log",
        here / "um.html",
        here / "um.md",
        *here.glob("um/*"),
    ):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def far_trace(path, **columns):
    row = {
        "request_id": ["a", "b"],
        "arrival_us": [0, 2**63 - 1],
        "cancel_us": [None, None],
    } | columns
    whole = pq.read_table("e5.parquet").slice(0, 2)
    for name, values in row.items():
        at = whole.schema.get_field_index(name)
        whole = whole.set_column(
            at, whole.schema.field(at), pa.array(values, whole.schema.types[at])
        )
    pq.write_table(whole, path)


@pytest.mark.parametrize(
    "columns",
    [{}, {"arrival_us": [0, 1], "cancel_us": [None, 2**63 - 1]}],
    ids=["arrival", "cancel"],
)
def test_09_times_near_the_end_of_numbers_are_refused_with_their_row(here, kvreplay, columns):
    far_trace("far.parquet", **columns)
    name = next(iter((columns and {"cancel_us": 0}) or {"arrival_us": 0}))
    for words in (
        ("trace", "inspect", "far.parquet"),
        ("run", "far.parquet", "--profile", "hardened"),
    ):
        assert refused(kvreplay(*words), "far.parquet: ", name, "row 1")


def program(*words, **options):
    command = [sys.executable, "-m", "replay.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)


def test_10_a_closed_standard_input_is_one_sentence(here):
    done = program("diagnose", "-", preexec_fn=lambda: os.close(0))
    assert done.returncode == 2
    assert "standard input is closed" in done.stderr and done.stderr.count("\n") == 1


def test_11_a_link_is_followed_and_the_working_folder_is_refused(here, kvreplay, monkeypatch):
    assert kvreplay(*run("--out", "rec"))[0] == 0
    (here / "link").symlink_to("rec")
    for name in ("link", "link/"):
        assert kvreplay(*run("--out", name))[0] == 0
        assert (here / "link").is_symlink() and (here / "rec/run.json").is_file()
    (here / "empty").mkdir()
    monkeypatch.chdir(here / "empty")
    words = ("run", "../e5.parquet", "--profile", "hardened", "--out", ".")
    assert refused(kvreplay(*words), ".: is the working folder; name a folder inside it")


def test_12_a_matrix_reads_its_traces_before_it_makes_a_folder(here, kvreplay):
    (here / "secret").write_text("root:x:0:0")
    (here / "m.kvmatrix.toml").write_text(MATRIX.format(trace="secret"))
    before = tree(here)
    result = kvreplay("matrix", "run", "m.kvmatrix.toml", "--jobs", "1", "--out", "EM")
    assert refused(result, "secret", "is not a Parquet file")
    assert "root" not in result[2]
    assert tree(here) == before


@pytest.mark.parametrize("words", [("demo", "--out", "d"), run("--out", "r")], ids=["demo", "run"])
def test_13_a_full_disk_names_the_place_and_leaves_nothing(here, kvreplay, monkeypatch, words):
    from traces.files.writing import _WorkingFile

    def full(self, data):
        raise OSError(28, "No space left on device", self.name)

    monkeypatch.setattr(_WorkingFile, "write", full)
    before = tree(here)
    code, _, err = kvreplay(*words)
    assert code == 2
    [sentence] = [line for line in err.splitlines() if line.startswith("kvreplay: ")]
    assert sentence.startswith(f"kvreplay: {words[-1]}/")
    assert "cannot be written (No space left on device)" in sentence
    assert ".kvreplay-" not in err
    assert tree(here) == before


def hostile(path):
    with TraceWriter(path, source="test", block_size=None) as writer:
        for number in range(20):
            writer.write(TraceRequest(f"{number}{ESCAPES}", number * 1000, 600, 8))


def test_14_and_15_no_output_has_control_or_bidi_characters(here, kvreplay):
    hostile("h.parquet")
    words = ("--profile", "sglang-0.4.6.post4", "--drop", "0.9", "--seed", "3")
    _, out, err = kvreplay("run", "h.parquet", *words, "--out", "hrec")
    assert kvreplay("report", "hrec", "-o", "h.html", "-o", "h.md", "-o", "h.json")[0] == 0
    texts = [out, err, *(Path(f"h.{kind}").read_text() for kind in ("html", "md", "json"))]
    for text in texts:
        assert not set(text) & set("\x00\x07\x1b\x7f\x9b\u200b\u202e\u2028")
    assert "\\x1b[31mRED" in texts[2] and "\\u202e" in texts[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("trace", "synth", "-o", "t.parquet", "--requests", 400_000),
        ("trace", "import", "log.jsonl", "-o", "t.parquet"),
        run("--out", "t", "--repeat", 200),
    ],
    ids=["synth", "import", "run"],
)
def test_05_and_16_the_next_run_removes_what_a_killed_one_left(here, words):
    """Killed at a moment that is not chosen; `test_killed_writers` chooses every one."""
    row = '{"request_id": "%d", "arrival_us": %d, "input_tokens": 9, "output_tokens": 9}\n'
    (here / "log.jsonl").write_text("".join(row % (n, n) for n in range(150_000)))
    command = [sys.executable, "-m", "replay.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as work:
        wait_until(lambda: list(here.glob(".kvreplay-*/1")))
        work.send_signal(signal.SIGKILL)
    assert list(here.glob(".kvreplay-*"))
    assert not (here / words[words.index("-o" if "-o" in words else "--out") + 1]).exists()
    done = program("trace", "synth", "-o", "small.parquet", "--requests", 5)
    assert done.returncode == 0
    assert "removed the files of an interrupted run" in done.stderr
    assert not list(here.glob(".kvreplay-*"))


def test_17_a_key_of_a_hundred_thousand_parts_is_refused_at_once(here, kvreplay):
    (here / "p.toml").write_text(".".join(["a"] * 100_000) + " = 1\n")
    started = time.process_time()
    assert refused(kvreplay(*run("--plan", "p.toml")), "p.toml:1: ")
    assert time.process_time() - started < 5


def test_18_a_long_source_is_cut(here, kvreplay):
    with TraceWriter("long.parquet", source="x" * 3_000_000, block_size=None) as writer:
        writer.write(TraceRequest("a", 0, 1, 1))
    code, out, _ = kvreplay("trace", "inspect", "long.parquet")
    assert code == 0
    assert len(out) < 20_000
    assert "more characters" in " ".join(out.split())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_19_a_utf_16_log_has_the_same_verdict(here, kvreplay, encoding):
    line = (
        "[2025-05-20 10:00:00 TP0] Scheduler hit an exception: ValueError: "
        "token_to_kv_pool_allocator memory leak detected! available_size=13824256, "
        "protected_size=0, self.max_total_num_tokens=13858304\n"
    )
    (here / "a.log").write_text(line)
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    (here / "b.log").write_bytes((mark + line).encode(encoding))
    (plain_code, plain, _), (code, wide, _) = (
        kvreplay("diagnose", name, "--json") for name in ("a.log", "b.log")
    )
    verdicts = [json.loads(text)["verdict"] for text in (plain, wide)]
    assert plain_code == code
    assert verdicts[0] == verdicts[1]
    assert "13824256" in wide


@pytest.mark.parametrize(
    "words",
    [
        ("--profile", "bad"),
        ("--profile", "hardened", "--drop", "nan"),
        ("--profile", "hardened", "--plan", "none.toml"),
        ("--profile", "hardened", "--out", "e5.parquet"),
        ("--profile", "hardened", "--set", "no=1"),
    ],
    ids=lambda words: " ".join(words[-2:]),
)
def test_20_bad_input_is_refused_before_anything_large_is_imported(here, words):
    code = (
        "import sys; from replay.cli import run_command_line; "
        f"code = run_command_line(['run', 'e5.parquet', *{words!r}]); "
        "print(code, [m for m in ('torch', 'polars', 'vl_convert', 'jinja2') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "2 []\n"
