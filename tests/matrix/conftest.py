"""A small matrix and the ways these tests run it."""

import json
import textwrap

import pytest

from replay.cli import run_command_line

#: Eight cells that take a moment each: two engines, with and without loss, two seeds.
SMALL = """\
name = "small"

[axes]
profile = ["hardened", "sglang-0.4.6.post4"]
topology = ["tp2:tp2dp2"]
total_tokens = [65536]
plan = ["none", "lossy"]
seed = [0, 1]

[trace.tiny]
requests = 30
rate_per_s = 8
prompt_tokens_median = 128
system_tokens_median = 128
output_tokens_median = 16

[plan.lossy]
comment = "one completion in five is lost"
[[plan.lossy.rule]]
name = "lost"
fault = "drop"
probability = 0.2

[[expect]]
verdict = ["clean", "transient"]

[[expect]]
cells = { profile = "sglang-*", plan = "lossy" }
verdict = "persistent"
kinds = "stuck"
"""


@pytest.fixture
def matrix_file(tmp_path, monkeypatch):
    """Write a matrix file into the working directory and return its name."""
    monkeypatch.chdir(tmp_path)

    def write(text=SMALL, name="small.kvmatrix.toml"):
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        return name

    return write


@pytest.fixture
def kvreplay(capsys):
    """Run a command line in this process: (exit code, stdout, stderr)."""

    def run(*words):
        capsys.readouterr()
        code = run_command_line([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def run_matrix_json(kvreplay):
    """Run `kvreplay matrix run ... --reports none --json`: (exit code, document, stderr)."""

    def run(*words):
        code, out, err = kvreplay("matrix", "run", *words, "--reports", "none", "--json")
        assert out, err
        return code, json.loads(out), err

    return run
