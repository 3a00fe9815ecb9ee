"""Running a matrix: exit codes, results, reproduce lines, and going on where one stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from matrix_helpers import (
    SMALL,
    crash_on_seed_one,
    fill_the_disk_at_seed_one,
    rows_without_timing,
)
from waiting import HANGS_S, wait_until

from replay.matrix.run_one import run_message
from replay.recording.fingerprint import hash_recording

LOSSY_SGLANG = (
    "trace=tiny profile=sglang-0.4.6.post4 topology=tp2:tp2dp2 total_tokens=65536 plan=lossy"
)


def cell_times(directory="M"):
    """When each cell's document was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path(directory, "cells").glob("*.json")}


@pytest.mark.slow
def test_all_as_expected_is_exit_code_0_and_a_table_for_polars(matrix_file, run_matrix_json):
    code, document, err = run_matrix_json(matrix_file(), "--out", "M")
    assert code == 0, err
    assert (document["cells"], document["ran"], document["outcomes"]) == (8, 8, {"passed": 8})
    table = pl.read_parquet("M/results.parquet")
    assert table["number"].to_list() == list(range(1, 9))
    assert table["verdict"].to_list()[-2:] == ["persistent", "persistent"]
    last = table.to_dicts()[-1]
    assert last["cell"] == f"{LOSSY_SGLANG} seed=1"
    assert last["expected_line"] == 27
    assert last["gap_tokens"] > 0
    assert "total 65536: gap" in last["equation"]
    assert (last["plan"], last["topology"], last["seed"]) == ("lossy", "tp2:tp2dp2", 1)
    assert Path("M", last["recording"], "run.json").is_file()
    assert json.loads(Path("M/matrix.json").read_text())["cells"] == 8
    assert not Path("M/.traces").exists()


@pytest.mark.slow
def test_a_falsified_expectation_fails_one_cell_whose_line_gives_the_same_recording(
    matrix_file, kvreplay
):
    false = """
    [[expect]]
    cells = { profile = "sglang-*", plan = "lossy", seed = 1 }
    verdict = "clean"
    """
    name = matrix_file(SMALL + false.replace("    ", ""))
    code, out, err = kvreplay("matrix", "run", name, "--out", "M", "--reports", "none")
    assert code == 1
    failed = pl.read_parquet("M/results.parquet").filter(pl.col("outcome") != "passed").to_dicts()
    assert [row["cell"] for row in failed] == [f"{LOSSY_SGLANG} seed=1"]
    assert failed[0]["outcome"] == "failed"
    for told in (out, err):
        assert f"reproduce: {failed[0]['reproduce']}\n" in told
        assert "persistent where clean was expected" in told
    kvreplay_here = Path(sys.executable).with_name("kvreplay")
    line = failed[0]["reproduce"].replace("kvreplay", str(kvreplay_here), 1)
    pasted = subprocess.run(
        f"{line} --out again --json", shell=True, capture_output=True, text=True
    )
    assert pasted.returncode == 1, pasted.stderr
    assert json.loads(pasted.stdout)["verdict"] == "persistent"
    assert hash_recording(Path("again")) == failed[0]["recording_sha256"]
    assert hash_recording(Path("M", failed[0]["recording"])) == failed[0]["recording_sha256"]


@pytest.mark.slow
def test_a_changed_expectation_runs_nothing_and_a_changed_plan_only_its_cells(
    matrix_file, run_matrix_json
):
    run_matrix_json(matrix_file(), "--out", "M")
    before = cell_times()
    code, document, _ = run_matrix_json(
        matrix_file(SMALL.replace('"persistent"', '"clean"')), "--out", "M", "--resume"
    )
    assert (code, document["ran"], document["outcomes"]) == (1, 0, {"passed": 6, "failed": 2})
    assert cell_times() == before
    code, document, _ = run_matrix_json(
        matrix_file(SMALL.replace("probability = 0.2", "probability = 0.25")),
        "--out",
        "M",
        "--resume",
    )
    assert (code, document["ran"]) == (0, 4)
    unchanged = {name for name, written in cell_times().items() if before[name] == written}
    assert all("-none-" in name for name in unchanged) and len(unchanged) == 4


@pytest.mark.slow
def test_cells_that_are_gone_from_the_file_are_gone_from_the_directory(
    matrix_file, run_matrix_json
):
    run_matrix_json(matrix_file(), "--out", "M")
    fewer = SMALL.replace("seed = [0, 1]", "seed = [1]")
    _, document, _ = run_matrix_json(matrix_file(fewer), "--out", "M", "--resume")
    assert (document["cells"], document["ran"]) == (4, 0)
    assert len(cell_times()) == 4
    assert len(list(Path("M/cells").iterdir())) == 8
    assert pl.read_parquet("M/results.parquet")["number"].to_list() == [1, 2, 3, 4]


@pytest.mark.slow
def test_what_is_in_the_way_is_refused_or_replaced(matrix_file, kvreplay):
    name = matrix_file(SMALL.replace("seed = [0, 1]", "seed = [0]"))

    def run(*words):
        return kvreplay("matrix", "run", name, "--out", "M", "--reports", "none", *words)

    Path("M").mkdir()
    Path("M/mine.txt").write_text("precious")
    code, _, err = run()
    assert code == 2 and "M: exists and is not a matrix directory" in err
    Path("M/mine.txt").unlink()
    assert run()[0] == 0
    # A finished one is replaced without a word.
    assert run()[0] == 0
    Path("M/results.parquet").unlink()
    sorted(Path("M/cells").glob("*.json"))[0].unlink()
    code, _, err = run()
    assert code == 2 and "unfinished matrix, 3 of 4 cells done; go on with --resume or" in err
    code, _, err = run("--resume", "--shard", "1/2")
    assert code == 2 and "holds the whole matrix, not shard 1/2" in err
    before = cell_times()
    assert run("--resume")[0] == 0
    assert {key: cell_times()[key] for key in before} == before
    Path("M/results.parquet").unlink()
    assert run("--restart")[0] == 0
    assert not set(before.values()) & set(cell_times().values())
    Path("file").write_text("")
    code, _, err = kvreplay("matrix", "run", name, "--out", "file")
    assert code == 2 and "file: is a file" in err


@pytest.mark.slow
def test_another_matrix_or_a_damaged_head_is_replaced_only_by_force(matrix_file, kvreplay):
    text = SMALL.replace("seed = [0, 1]", "seed = [0]")
    name = matrix_file(text)

    def run(*words):
        return kvreplay("matrix", "run", name, "--out", "M", "--reports", "none", *words)

    assert run()[0] == 0
    matrix_file(text.replace("requests = 30", "requests = 31"))
    before = {path: path.read_bytes() for path in Path("M").rglob("*") if path.is_file()}
    for words in ((), ("--restart",)):
        code, _, err = run(*words)
        assert code == 2 and "M: holds another matrix, or an earlier text of this one" in err
    assert {path: path.read_bytes() for path in Path("M").rglob("*") if path.is_file()} == before
    assert run("--force")[0] == 0
    # An edited matrix may be gone on with.
    matrix_file(text)
    assert run("--resume")[0] == 0
    Path("M/matrix.json").write_text('{"schema": "kvreplay.matrix/1"}')
    code, _, err = run()
    assert code == 2 and "matrix.json: damaged; run its matrix again with --restart --force" in err
    assert run("--restart")[0] == 2
    assert run("--restart", "--force")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--resume", "--restart"), "exclude each other"),
        (("--retry",), "--retry goes with --resume"),
        (("--executor", "spark://x:1"), "neither local nor dask://HOST:PORT"),
        (("--executor", "dask://127.0.0.1:1", "--jobs", "2"), "--jobs goes with"),
        (("--executor", "dask://127.0.0.1:1"), "no Dask scheduler answers there"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    matrix_file, kvreplay, monkeypatch, words, told
):
    monkeypatch.setattr("replay.matrix.dask_pool._CONNECT_S", 0.5)
    code, _, err = kvreplay("matrix", "run", matrix_file(), "--out", "M", *words)
    assert code == 2
    assert told in err


@pytest.mark.slow
def test_what_a_cell_does_to_its_process_is_its_result_and_retry_runs_it_again(
    matrix_file, run_matrix_json, monkeypatch
):
    name = matrix_file()
    monkeypatch.setattr("replay.matrix.run_one.run_message", crash_on_seed_one)
    code, document, _ = run_matrix_json(name, "--out", "M")
    assert code == 4
    assert document["outcomes"] == {"passed": 6, "crashed": 2}
    row = document["unexpected"][0]
    assert row["error"] == "the process was killed by SIGSEGV"
    assert (row["verdict"], row["recording"], row["recording_sha256"]) == (None, None, None)
    assert row["reproduce"].startswith("kvreplay run ")
    monkeypatch.setattr("replay.matrix.run_one.run_message", run_message)
    assert run_matrix_json(name, "--out", "M", "--resume")[1]["ran"] == 0
    code, document, _ = run_matrix_json(name, "--out", "M", "--resume", "--retry")
    assert (code, document["ran"]) == (0, 2)


@pytest.mark.slow
def test_a_result_is_not_run_again_unless_asked(matrix_file, run_matrix_json):
    name = matrix_file()
    run_matrix_json(name, "--out", "M")
    path = sorted(Path("M/cells").glob("*.json"))[0]
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"state": "timed-out", "error": "slow", "facts": None}))
    code, document, _ = run_matrix_json(name, "--out", "M", "--resume")
    assert (code, document["ran"], document["outcomes"]["timed-out"]) == (4, 0, 1)
    code, document, _ = run_matrix_json(name, "--out", "M", "--resume", "--retry")
    assert (code, document["ran"]) == (0, 1)


@pytest.mark.slow
def test_a_whole_budget_stops_new_cells_and_can_be_resumed(matrix_file, kvreplay):
    text = SMALL + "[budget]\ntotal_s = 0.000001\n"
    code, _, err = kvreplay("matrix", "run", matrix_file(text), "--out", "M", "--reports", "none")
    assert code == 4
    assert "the budget of 1e-06 s for the whole matrix is used up; 8 of 8 cells did not run" in err
    assert not Path("M/results.parquet").exists()
    words = ("--out", "M", "--resume", "--reports", "none")
    assert kvreplay("matrix", "run", matrix_file(SMALL), *words)[0] == 0


@pytest.mark.slow
def test_only_what_is_wanted_is_kept(matrix_file, kvreplay):
    text = SMALL.replace('"persistent"', '"clean"').replace("seed = [0, 1]", "seed = [0]")
    words = ("--keep", "unexpected", "--reports", "unexpected")
    code, _, _ = kvreplay("matrix", "run", matrix_file(text), "--out", "M", *words)
    assert code == 1
    rows = pl.read_parquet("M/results.parquet").to_dicts()
    for row in rows:
        kept = row["outcome"] == "failed"
        assert (row["recording"] is not None, row["report"] is not None) == (kept, kept)
    page = Path("M", rows[-1]["report"]).read_text()
    assert "plan=lossy seed=0" in page


@pytest.mark.slow
def test_pages_and_recordings_that_are_wanted_later_are_made_on_resume(matrix_file, kvreplay):
    def run(text, reports, keep):
        words = ("--resume", "--reports", reports, "--keep", keep, "--json")
        code, out, _ = kvreplay("matrix", "run", matrix_file(text), "--out", "M", *words)
        rows = pl.read_parquet("M/results.parquet").to_dicts()
        pages = [row["cell"] for row in rows if row["report"] is not None]
        return code, json.loads(out)["ran"], len(pages), rows

    one_seed = SMALL.replace("seed = [0, 1]", "seed = [0]")
    assert run(one_seed, "none", "none")[:3] == (0, 4, 0)
    # Without recordings there is nothing to draw pages from.
    assert run(one_seed, "none", "all")[:3] == (0, 4, 0)
    recorded = {path: path.stat().st_mtime_ns for path in Path("M/cells").glob("*/run.json")}
    assert len(recorded) == 4
    assert run(one_seed, "all", "all")[:3] == (0, 0, 4)
    drawn = {path: path.stat().st_mtime_ns for path in Path("M/cells").glob("*.html")}
    code, ran, pages, rows = run(one_seed.replace('"persistent"', '"clean"'), "all", "all")
    assert (code, ran, pages) == (1, 0, 4)
    again = {path for path, when in drawn.items() if path.stat().st_mtime_ns != when}
    # A cell that is unexpected by now has charts.
    assert again == {Path("M", rows[-1]["report"])}
    assert "<svg" in again.pop().read_text()
    assert {path: path.stat().st_mtime_ns for path in recorded} == recorded
    # A recording that somebody has broken is made again.
    Path("M", rows[0]["recording"], "audits.parquet").unlink()
    Path("M", rows[0]["report"]).unlink()
    assert run(one_seed, "all", "all")[2] == 4
    assert Path("M", rows[0]["recording"], "audits.parquet").exists()


def test_a_cell_of_another_place_is_found_before_anything_runs(matrix_file, kvreplay):
    Path("t.parquet").write_text("no trace")
    text = SMALL.replace("[axes]", '[axes]\ntrace = ["tiny", "t.parquet"]')
    code, _, err = kvreplay("matrix", "run", matrix_file(text), "--out", "M")
    assert code == 2
    assert err.splitlines()[-1].startswith("kvreplay: small.kvmatrix.toml:4: trace: t.parquet")


@pytest.mark.slow
def test_the_markdown_goes_to_the_step_summary_and_files_where_they_are_wanted(
    matrix_file, kvreplay, monkeypatch
):
    monkeypatch.setattr("replay.commands.matrix.run.ReportWriters", StandIn)
    Path("step.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "step.md")
    words = ("--reports", "none", "--junit", "new/j.xml", "--markdown", "s.md")
    assert kvreplay("matrix", "run", matrix_file(), "--out", "M", *words)[0] == 0
    assert Path("M/junit.xml").read_text() == Path("new/j.xml").read_text() == "<small 8/>"
    assert Path("M/summary.md").read_text() == Path("s.md").read_text() == "# small 8\n"
    assert Path("step.md").read_text() == "before\n# small 8\n"
    assert Path("M/matrix.html").read_text() == "small"


class StandIn:
    """Reports that say only what they were given."""

    def junit(self, table, head):
        return f"<{head['name']} {table.num_rows}/>"

    def markdown(self, table, head):
        return f"# {head['name']} {table.num_rows}\n"

    def page(self, table, head):
        return head["name"]


@pytest.mark.slow
def test_a_full_disk_is_no_cells_result(matrix_file, kvreplay, run_matrix_json, monkeypatch):
    name = matrix_file()
    monkeypatch.setattr("replay.matrix.run_one.run_message", fill_the_disk_at_seed_one)
    code, _, err = kvreplay("matrix", "run", name, "--out", "M", "--reports", "none")
    assert code == 2
    told = [line for line in err.splitlines() if "No space left on device" in line]
    assert len(told) == 1 and "go on with --resume" in told[0]
    assert "Traceback" not in err
    done = len(cell_times())
    monkeypatch.setattr("replay.matrix.run_one.run_message", run_message)
    code, document, _ = run_matrix_json(name, "--out", "M", "--resume")
    assert (code, document["ran"], document["outcomes"]) == (0, 8 - done, {"passed": 8})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "exit_code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
    ],
    ids=["once", "impatient", "cancelled"],
)
def test_ctrl_c_leaves_a_matrix_that_can_be_resumed(
    matrix_file, run_matrix_json, signals, exit_code
):
    name = matrix_file(SMALL.replace("seed = [0, 1]", f"seed = {list(range(12))}"))
    kvreplay_here = Path(sys.executable).with_name("kvreplay")
    words = ["matrix", "run", name, "--out", "M", "--reports", "none", "--jobs", "2"]
    process = subprocess.Popen(
        [kvreplay_here, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: len(cell_times()) >= 3)
    for number in signals:
        # As a terminal does: to every process of the group.
        os.killpg(process.pid, number)
        time.sleep(0.2)
    _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == exit_code, err
    done = cell_times()
    assert f"interrupted; {len(done)} of 48 cells are done in M, go on with --resume" in err
    assert "Traceback" not in err
    assert 3 <= len(done) < 48
    _, document, _ = run_matrix_json(name, "--out", "M", "--resume", "--jobs", "2")
    assert document["ran"] == 48 - len(done)
    assert {key: cell_times()[key] for key in done} == done
    assert rows_without_timing("M").num_rows == 48
