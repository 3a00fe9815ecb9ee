"""Places that matter to some verbs only: inputs that others name, damaged outputs, the working folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from file_helpers import VERBS, copy, run_here, tree

pytestmark = pytest.mark.slow


def test_a_trace_that_only_the_recording_names_survives_the_shrink_of_it(
    zoo, tmp_path, monkeypatch
):
    # The line that a shrunk case gives to see it again names a trace and a plan in its folder.
    monkeypatch.chdir(tmp_path)
    for name in ("rec", "shrunk"):
        copy(zoo / name, tmp_path / name)
    copy(zoo / "t.parquet", tmp_path / "t.parquet")
    document = json.loads((tmp_path / "shrunk/shrunk.json").read_text())
    words = document["reproduce"].replace(f"{zoo}/", "").split()[1:]
    assert "shrunk/trace.parquet" in words
    assert run_here([*words, "--out", "again"])[0] == 1
    before = tree(tmp_path)
    code, err = run_here(["shrink", "again", "-o", "shrunk", "--restart"])
    assert code == 2, err
    assert tree(tmp_path) == before


def test_shards_survive_the_results_of_the_whole(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s1", "s2"):
        copy(zoo / name, tmp_path / name)
    before = tree(tmp_path)
    for words in ("--junit s1/junit.xml", "--markdown s2/summary.md"):
        code, err = run_here(f"matrix merge s1 s2 --out M {words}".split())
        assert code == 2, err
        assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "damage", [{}, {"trace": None}, {"plan": {}}, {"profile": {"page_size": 64}}]
)
def test_a_recording_that_is_damaged_is_replaced_with_force_only(
    zoo, tmp_path, monkeypatch, damage
):
    monkeypatch.chdir(tmp_path)
    for name in ("recording", "t.parquet", "none.toml"):
        copy(zoo / name, tmp_path / name)
    run = json.loads((tmp_path / "recording/run.json").read_text())
    text = json.dumps(run | damage if damage else {"schema": run["schema"]})
    (tmp_path / "recording/run.json").write_text(text)
    before = tree(tmp_path)
    words = VERBS["run"].command("recording")
    code, err = run_here(words)
    assert (code, err.count("\n")) == (2, 1), err
    assert "recording" in err
    assert tree(tmp_path) == before
    assert run_here([*words, "--force"])[0] == 1


@pytest.mark.parametrize("name", ["synth", "import", "slice"])
def test_a_trace_that_is_damaged_is_bad_input_to_whoever_replaces_it(
    zoo, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    verb = VERBS[name]
    for each in (verb.name, *verb.reads):
        copy(zoo / each, tmp_path / each)
    content = bytearray((tmp_path / verb.name).read_bytes())
    # The words of the footer are there, but nothing makes sense of it.
    content[-12:-8] = b"\xff" * 4
    length = int.from_bytes(content[-8:-4], "little")
    content[-8 - length : -4 - length] = b"\xff" * 4
    (tmp_path / verb.name).write_bytes(bytes(content))
    before = tree(tmp_path)
    code, err = run_here(verb.command(verb.name))
    assert (code, err.count("\n")) == (2, 1), err
    assert verb.name in err
    assert tree(tmp_path) == before


@pytest.mark.parametrize("out", [".", "", "..", "../work", str(Path.cwd())])
@pytest.mark.parametrize("name", ["run", "reproduce", "demo"])
def test_the_working_folder_is_never_replaced(zoo, tmp_path, monkeypatch, name, out):
    verb = VERBS[name]
    work = tmp_path / "work"
    copy(zoo / verb.name, work)
    monkeypatch.chdir(work)
    for each in verb.reads:
        copy(zoo / each, tmp_path / each)
    before = tree(tmp_path)
    out = str(work) if out.startswith("/") else out
    words = [str(tmp_path / word) if word in verb.reads else word for word in verb.words.split()]
    code, err = run_here([word.replace("{out}", out) for word in words])
    assert code == 2, err
    assert tree(tmp_path) == before
