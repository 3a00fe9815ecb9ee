"""A small matrix and the ways these tests run it."""

import json
import textwrap

import pytest
from matrix_helpers import SMALL


@pytest.fixture
def matrix_file(tmp_path, monkeypatch):
    """Write a matrix file into the working directory and return its name."""
    monkeypatch.chdir(tmp_path)

    def write(text=SMALL, name="small.kvmatrix.toml"):
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        return name

    return write


@pytest.fixture
def run_matrix_json(kvreplay):
    """Run `kvreplay matrix run ... --reports none --json`: (exit code, document, stderr)."""

    def run(*words):
        code, out, err = kvreplay("matrix", "run", *words, "--reports", "none", "--json")
        assert out, err
        return code, json.loads(out), err

    return run
