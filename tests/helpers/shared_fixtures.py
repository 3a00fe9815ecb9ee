"""Fixtures for all tests: a command line in this process, small traces, and the real logs.

A plugin that `conftest.py` loads where kvreplay's own dependencies are installed.
"""

import json
import os
from pathlib import Path

import pytest
from made_once import made_once

from replay.cli import run_command_line
from traces.dataset import open_trace
from traces.synthesis import write_synthetic_trace
from traces.synthesis_options import SynthesisOptions
from traces.writer import TraceWriter


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
def run_json(kvreplay):
    """Run `kvreplay run ... --json`: (exit code, summary)."""

    def run(*words):
        code, out, err = kvreplay("run", *words, "--json")
        assert out, err
        return code, json.loads(out)

    return run


@pytest.fixture
def make_trace(tmp_path):
    """Write a synthetic trace; options as in SynthesisOptions."""

    def make(name="trace.parquet", **options):
        path = tmp_path / name
        defaults = {"requests": 120, "seed": 3, "rate_per_s": 6.0}
        write_synthetic_trace(SynthesisOptions(**(defaults | options)), path)
        return path

    return make


@pytest.fixture
def write_trace(tmp_path):
    """Write the given TraceRequests."""

    def write(requests, name="given.parquet", block_size=None):
        path = tmp_path / name
        with TraceWriter(path, source="test", block_size=block_size) as writer:
            for request in requests:
                writer.write(request)
        return path

    return write


@pytest.fixture(scope="session")
def mooncake_log():
    """The log of the Mooncake conversation trace, as it was published."""
    data = Path(os.environ.get("KVREPLAY_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = data / "traces" / "mooncake" / "conversation_trace.jsonl"
    if not path.is_file():
        pytest.skip(f"no real Mooncake log at {path}; set KVREPLAY_DATA to the folder of data sets")
    return path


@pytest.fixture(scope="session")
def mooncake(mooncake_log, tmp_path_factory):
    """The same, imported."""

    def make(folder):
        words = ["trace", "import", str(mooncake_log), "--format", "mooncake"]
        assert run_command_line([*words, "-o", str(folder / "conv.parquet")]) == 0

    return made_once(tmp_path_factory, "mooncake", make) / "conv.parquet"


@pytest.fixture(scope="session")
def mooncake_500(mooncake, tmp_path_factory):
    """Its first 500 requests."""
    trace = open_trace(mooncake)
    path = tmp_path_factory.mktemp("mooncake-500") / "conv-500.parquet"
    with TraceWriter(path, source="test", block_size=trace.block_size) as writer:
        for number, request in enumerate(trace.iter_requests()):
            if number == 500:
                break
            writer.write(request)
    return path
