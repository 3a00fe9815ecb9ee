"""`kvreplay trace`: outputs for people and machines, exit code 2 and one sentence for bad input."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import HANGS_S, wait_until

from traces.dataset import TraceWriter, open_trace
from traces.schema import TraceRequest

#: For a command that runs in another folder.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}

ROW = '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}\n'


def test_synth_writes_what_it_says(kvreplay, tmp_path):
    path = tmp_path / "t.parquet"
    code, out, err = kvreplay("trace", "synth", "-o", path, "--requests", 50, "--seed", 3, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["sha256"] == open_trace(path).sha256()
    assert (facts["requests"], facts["seed"], facts["block_size"]) == (50, 3, 512)
    again = tmp_path / "again.parquet"
    code, out, _ = kvreplay("trace", "synth", "-o", again, "--requests", 50, "--seed", 3)
    assert (code, out) == (0, f"{again}: 50 requests, seed 3\n")
    assert again.read_bytes() == path.read_bytes()


def test_import_prints_what_became_of_every_row(kvreplay, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(ROW + ROW.replace(": 5,", ": 0,"))
    path = tmp_path / "t.parquet"
    arguments = ("trace", "import", log, "--format", "mooncake", "-o", path)
    code, out, err = kvreplay(*arguments)
    assert (code, err) == (0, "")
    for words in ("read", "written", "skipped", "output_length is 0", "first in line 2"):
        assert words in out
    code, out, _ = kvreplay(*arguments, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["rows_read"], facts["rows_written"]) == (2, 1)
    assert facts["skipped"] == {"output_length is 0": {"rows": 1, "first_at": "line 2"}}


def test_inspect_for_people_and_for_machines(kvreplay, tmp_path):
    path = tmp_path / "[bold]t.parquet"
    kvreplay("trace", "synth", "-o", path, "--requests", 40, "--abort-rate", 0.5)
    code, out, err = kvreplay("trace", "inspect", path)
    assert (code, err) == (0, "")
    for words in ("requests", "40", "rate per s: mean", "p50", "aborts: count", "[bold]t.parquet"):
        assert words in out.replace("\n", "")
    code, out, _ = kvreplay("trace", "inspect", path, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["requests"] == 40
    assert all(type(facts[key]) is int for key in ("requests", "input_tokens", "output_tokens"))


def test_bad_input_is_one_sentence_and_exit_code_2(kvreplay, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(ROW + "{\n")
    out_path = tmp_path / "t.parquet"
    cases = [
        (("inspect", log), "is not a Parquet file"),
        (("inspect", tmp_path), "is a directory"),
        (("inspect", tmp_path / "none"), "no such file"),
        (("import", log, "--format", "mooncake", "-o", out_path), "line 2 is not JSON"),
        (("import", tmp_path, "--format", "mooncake", "-o", out_path), "is a directory"),
        (("import", log, "--format", "xml", "-o", out_path), "Invalid value for '--format'"),
        (("import", log, "--format", "mooncake"), "Missing option '-o'"),
        (("synth", "-o", out_path, "--abort-rate", 2), "must be a number between 0 and 1"),
        (("synth", "-o", out_path, "--requests", "x"), "Invalid value for '--requests'"),
        (("synth", "-o", tmp_path / "no" / "t", "--requests", 1), "cannot be written"),
    ]
    for arguments, message in cases:
        code, out, err = kvreplay("trace", *arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err and "Traceback" not in err, err
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("verb", ["synth", "import", "inspect", "anonymize", "slice"])
def test_help_has_an_example(kvreplay, verb):
    code, out, _ = kvreplay("trace", verb, "--help")
    assert code == 0
    assert f"Example:\n    kvreplay trace {verb} " in out


def test_help_imports_nothing_heavy():
    code = (
        "import sys, replay.cli, replay.commands.trace.synth, replay.commands.trace.import_log; "
        "print([m for m in ('numpy', 'polars', 'pyarrow', 'faker', 'torch', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_trace_is_never_replaced_by_one_like_it(kvreplay, tmp_path):
    path, link = tmp_path / "t.parquet", tmp_path / "link.parquet"
    kvreplay("trace", "synth", "-o", path, "--requests", 30)
    link.symlink_to(path)
    before = path.read_bytes()
    for output in (path, link):
        code, _, err = kvreplay("trace", "synth", "--like", path, "-o", output)
        assert (code, path.read_bytes()) == (2, before)
        assert "which this command reads" in err


def test_what_a_trace_says_does_not_steer_the_terminal(kvreplay, tmp_path):
    path = tmp_path / "t.parquet"
    with TraceWriter(path, source="a\x1b]0;name\x07\x1b[31mred", block_size=None) as writer:
        writer.write(TraceRequest("a", 0, 1, 1))
    for arguments in (("inspect", path), ("inspect", path, "--against", path)):
        code, out, _ = kvreplay("trace", *arguments)
        assert code == 0
        assert "\x1b" not in out and "\x07" not in out
    bad = tmp_path / "b\x1b[31m.parquet"
    bad.write_text("x")
    code, _, err = kvreplay("trace", "inspect", bad)
    assert code == 2
    assert "\x1b" not in err and "\\x1b[31m" in err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_leaves_nothing_half_written(tmp_path, name):
    log = tmp_path / "log.jsonl"
    log.write_text(ROW * 200_000)
    command = [sys.executable, "-m", "replay.cli", "trace", "import", log, "-o", "t.parquet"]

    def as_in_a_terminal():
        # Whoever runs the tests in the background lets them ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        preexec_fn=as_in_a_terminal,
    ) as work:
        wait_until(lambda: list(tmp_path.glob(".kvreplay-*/1")))
        work.send_signal(getattr(signal, name))
        code = work.wait(HANGS_S)
    assert code == (130 if name == "SIGINT" else 128 + getattr(signal, name))
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
