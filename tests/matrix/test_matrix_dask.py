"""A matrix on a real Dask cluster of two worker processes, of which one is killed."""

import os
import signal
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from matrix_helpers import SMALL, bytes_without_timing, kill_workers_at_seed_one

distributed = pytest.importorskip("distributed")

CELLS = SMALL.replace("seed = [0, 1]", "seed = [0, 1, 2, 3, 4, 5]")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes that nobody but this machine can reach."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    ) as cluster:
        yield cluster


def executor_of(cluster):
    return cluster.scheduler_address.replace("tcp://", "dask://")


def test_the_same_results_although_a_worker_is_killed_on_the_way(
    cluster, matrix_file, run_matrix_json, tmp_path
):
    name = matrix_file(CELLS)
    code, _, _ = run_matrix_json(name, "--out", "local", "--jobs", "2")
    assert code == 0
    killed = []

    def kill_one():
        deadline = time.monotonic() + 60
        while len(list(Path("M/cells").glob("*.json"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        nanny = next(iter(cluster.workers.values()))
        killed.append((nanny.process.pid, len(list(Path("M/cells").glob("*.json")))))
        os.kill(nanny.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    code, document, _ = run_matrix_json(name, "--out", "M", "--executor", executor_of(cluster))
    killer.join()
    assert (code, document["ran"]) == (0, 24)
    assert 4 <= killed[0][1] < 24
    assert bytes_without_timing("M", tmp_path) == bytes_without_timing("local", tmp_path)
    assert len(list(Path("M/cells").glob("*/summary.json"))) == 24
    workers = {row["timing_worker"] for row in pl.read_parquet("M/results.parquet").to_dicts()}
    assert len(workers) >= 2
    assert not any(worker.endswith(f":{os.getpid()}") for worker in workers)


def test_a_trace_that_a_worker_finds_changed_is_the_cells_own_error(
    cluster, matrix_file, run_matrix_json, kvreplay, monkeypatch
):
    from replay.matrix import jobs

    text = SMALL.replace("[axes]", '[axes]\ntrace = ["t.parquet", "tiny"]')
    name = matrix_file(text.replace("seed = [0, 1]", "seed = [0]"))
    kvreplay("trace", "synth", "-o", "t.parquet", "--requests", "20")
    make_job = jobs.make_job

    def changed(checked, expectation, trace, settings):
        if trace.options is None:
            trace = jobs.TraceOnDisk(trace.path, "0" * 64)
        return make_job(checked, expectation, trace, settings)

    monkeypatch.setattr("replay.matrix.runner.make_job", changed)
    code, document, _ = run_matrix_json(name, "--out", "M", "--executor", executor_of(cluster))
    assert code == 4
    assert document["outcomes"] == {"passed": 4, "crashed": 4}
    assert "has other bytes than where the matrix was started" in document["unexpected"][0]["error"]


def test_a_cell_that_kills_every_worker_has_crashed_and_no_other_is_blamed(
    cluster, matrix_file, run_matrix_json, monkeypatch
):
    monkeypatch.setattr("replay.matrix.dask_pool.run_remote", kill_workers_at_seed_one)
    name = matrix_file()
    code, document, _ = run_matrix_json(name, "--out", "M", "--executor", executor_of(cluster))
    assert code == 4
    assert document["outcomes"] == {"passed": 7, "crashed": 1}
    (crashed,) = document["unexpected"]
    assert crashed["error"] == "every worker that ran it died"
    assert "profile=hardened" in crashed["cell"] and "plan=none seed=1" in crashed["cell"]


def test_without_dask_one_sentence_says_what_to_install(matrix_file, kvreplay, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = kvreplay(
        "matrix", "run", matrix_file(), "--out", "M", "--executor", "dask://127.0.0.1:1"
    )
    assert code == 2
    assert "Dask is not installed; install kvreplay[dask]" in err
