"""The same table, byte for byte, however the cells were run; and what merging refuses."""

import json
import shutil
from pathlib import Path

import pytest
from matrix_helpers import SMALL, bytes_without_timing


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One job, two jobs, and three shards, of one file in one directory."""
    from replay.cli import run_command_line

    directory = tmp_path_factory.mktemp("same")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        Path("m.kvmatrix.toml").write_text(SMALL)
        line = ["matrix", "run", "m.kvmatrix.toml", "--reports", "none"]
        for out, words in {
            "one": ["--jobs", "1"],
            "two": ["--jobs", "2"],
            "s1": ["--shard", "1/3"],
            "s2": ["--shard", "2/3"],
            "s3": ["--shard", "3/3"],
        }.items():
            assert run_command_line([*line, "--out", out, *words]) == 0
    return directory


@pytest.fixture
def here(runs, tmp_path, monkeypatch):
    """A copy of them as the working directory."""
    shutil.copytree(runs, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path


@pytest.mark.slow
def test_one_job_two_jobs_and_merged_shards_give_the_same_table(here, kvreplay):
    code, out, _ = kvreplay("matrix", "merge", "s1", "s2", "s3", "--out", "M", "--json")
    assert (code, json.loads(out)["ran"]) == (0, 0)
    tables = {name: bytes_without_timing(name, here) for name in ("one", "two", "M")}
    assert tables["one"] == tables["two"] == tables["M"]
    head = json.loads(Path("M/matrix.json").read_text())
    assert (head["shard"], head["cells"]) == (None, 8)
    for name in ("one", "two", "M"):
        assert len(list(Path(name, "cells").glob("*/run.json"))) == 8


@pytest.mark.slow
def test_a_merged_matrix_replaces_a_finished_one_only_when_it_can_be_made(here, kvreplay):
    assert kvreplay("matrix", "merge", "s1", "s2", "s3", "--out", "M")[0] == 0
    before = Path("M/results.parquet").read_bytes()
    assert kvreplay("matrix", "merge", "s1", "s2", "--out", "M")[0] == 2
    assert Path("M/results.parquet").read_bytes() == before
    assert kvreplay("matrix", "merge", "two", "--out", "M")[0] == 0


def test_half_a_merge_is_replaced_but_half_a_run_is_not(here, kvreplay):
    assert kvreplay("matrix", "merge", "s1", "s2", "s3", "--out", "M")[0] == 0
    # As a merge leaves it that is killed on its way.
    Path("M/results.parquet").unlink()
    drop_a_cell("M")
    assert kvreplay("matrix", "merge", "s3", "s2", "s1", "--out", "M")[0] == 0
    assert bytes_without_timing("M", here) == bytes_without_timing("one", here)
    Path("two/results.parquet").unlink()
    code, _, err = kvreplay("matrix", "merge", "s1", "s2", "s3", "--out", "two")
    assert (code, len(list(Path("two/cells").glob("*.json")))) == (2, 8)
    assert "unfinished matrix" in err


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda: shutil.rmtree("s2"), "s2: not a matrix directory"),
        (lambda: Path("s2/matrix.json").write_text("{}"), "not of the schema"),
        (
            lambda: Path("s2/matrix.json").write_text('{"schema": "kvreplay.matrix/1"}'),
            "s2/matrix.json: damaged",
        ),
        (lambda: damage_a_cell("s2"), "1 of 8 cells are in none of the directories: trace=tiny"),
        (lambda: drop_a_cell("s2"), "1 of 8 cells are in none of the directories: trace=tiny"),
        (
            lambda: change_head("s2", "kvreplay", "0.0.0"),
            "s2: of another version of kvreplay than s1",
        ),
        (
            lambda: change_head("s2", "file", {"sha256": "0" * 64}),
            "s2: of another matrix file than s1",
        ),
        (lambda: another_hash("s2", "s3"), "came out differently in s2 and s3"),
    ],
)
def test_shards_that_do_not_fit_are_refused_in_one_line(here, kvreplay, damage, words):
    damage()
    code, _, err = kvreplay("matrix", "merge", "s1", "s2", "s3", "--out", "M")
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert not Path("M/results.parquet").exists()


def test_a_shard_is_not_overwritten_by_the_whole(here, kvreplay):
    code, _, err = kvreplay("matrix", "merge", "s1", "s2", "s3", "--out", "s2")
    assert code == 2
    assert "s2: is one of the shards" in err


def drop_a_cell(directory):
    sorted(Path(directory, "cells").glob("*.json"))[0].unlink()


def damage_a_cell(directory):
    path = sorted(Path(directory, "cells").glob("*.json"))[0]
    path.write_text('{"schema": "kvreplay.cell/1", "fingerprint": "x"}')


def change_head(directory, key, value):
    path = Path(directory, "matrix.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def another_hash(source, target):
    path = sorted(Path(source, "cells").glob("*.json"))[0]
    document = json.loads(path.read_text())
    document["facts"]["recording_sha256"] = "0" * 64
    Path(target, "cells", path.name).write_text(json.dumps(document))
