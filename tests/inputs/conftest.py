"""A folder with a trace, recordings, and files that are none of these; and how lines run in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from input_helpers import ROOT

from replay.cli import run_command_line

FILES = {
    "text.parquet": "secret words, no Parquet\n",
    "bad.toml": '[[rule]]\nfault = "explode"\n',
    "bad.kvmatrix.toml": "axes = 3\n",
    "good.kvmatrix.toml": '[axes]\ntrace = ["t.parquet"]\nprofile = ["hardened"]\n',
    "no-profile.kvmatrix.toml": '[axes]\ntrace = ["t.parquet"]\nprofile = ["hardend"]\n',
    "no-trace.kvmatrix.toml": '[axes]\ntrace = ["none.parquet"]\nprofile = ["hardened"]\n',
    "no-parquet.kvmatrix.toml": '[axes]\ntrace = ["text.parquet"]\nprofile = ["hardened"]\n',
    "two-traces.kvmatrix.toml": (
        '[axes]\ntrace = ["t.parquet", "text.parquet"]\nprofile = ["hardened"]\n'
    ),
    "no-plan.kvmatrix.toml": (
        '[axes]\ntrace = ["t.parquet"]\nprofile = ["hardened"]\nplan = ["bad.toml"]\n'
    ),
    "accepted.toml": "[[accepted]]\n",
    "log.csv": "when,prompt,answer\n0,5,5\n",
    "secret.key": "0123456789abcdef0123456789abcdef",
    "leak.log": (
        "[2025-05-10 10:00:00 DP3] token_to_kv_pool_allocator memory leak detected! "
        "available_size=13824256, protected_size=0, self.max_total_num_tokens=13858304\n"
    ),
}


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """The folder; nobody changes what is in it."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    run = ["run", f"{folder}/t.parquet", "--profile", "sglang-0.4.6.post4", "--seed", "1"]
    assert run_command_line(["trace", "synth", "-o", run[1], "--requests", "6"]) == 0
    assert run_command_line([*run, "--out", f"{folder}/clean"]) == 0
    assert run_command_line([*run, "--drop", "0.5", "--out", f"{folder}/lost"]) == 1
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text("{")
    return folder


class Runner:
    """A process that runs command lines in the folder, each in a fork of its own."""

    def __init__(self, folder, *words):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("command_runner.py")), *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, lines):
        """What came of each line."""
        return [self._answer(line) for line in lines]

    def _answer(self, line):
        self._process.stdin.write(f"{json.dumps(line)}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the runner ended; see its stderr"
        return json.loads(answer)

    def end(self):
        self._process.communicate()


@pytest.fixture(scope="session")
def run_lines(inputs):
    """Run command lines, each in a process of its own, in the folder; what came of each."""
    runner = Runner(inputs, "[]", "learns")
    yield runner.run
    runner.end()


@pytest.fixture
def run_lines_bare(inputs):
    """The same in processes that have loaded nothing but what is named, and say what they load."""

    def run(lines, load=()):
        runner = Runner(inputs, json.dumps(load))
        answers = runner.run(lines)
        runner.end()
        return answers

    return run
