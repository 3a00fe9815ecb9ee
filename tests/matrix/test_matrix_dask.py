"""A matrix on a real Dask cluster of two worker processes, of which one is killed."""

import concurrent.futures
import os
import signal
from pathlib import Path

import polars as pl
import pytest
from matrix_helpers import SMALL, bytes_without_timing, kill_workers_at_seed_one

from replay.commands.matrix.shared import draw_page
from replay.errors import MatrixError
from replay.matrix.dask_pool import DaskPool, store_remote

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
pytestmark = pytest.mark.dask

CELLS = SMALL.replace("seed = [0, 1]", "seed = [0, 1, 2, 3, 4, 5]")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes that nobody but this machine can reach.

    What kills two of them is given up, not what kills four: each is a process that must start anew.
    """
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
    ):
        yield cluster


def executor_of(cluster):
    return cluster.scheduler_address.replace("tcp://", "dask://")


def test_the_same_results_although_a_worker_is_killed_on_the_way(
    cluster, matrix_file, run_matrix_json, tmp_path, monkeypatch
):
    name = matrix_file(CELLS)
    code, _, _ = run_matrix_json(name, "--out", "local", "--jobs", "2")
    assert code == 0
    ran_by = []

    def store_and_kill(cells, slug, answer):
        """The worker that ran the fourth cell dies as soon as that is stored."""
        document = store_remote(cells, slug, answer)
        ran_by.append(int(document["timing"]["worker"].rpartition(":")[2]))
        if len(ran_by) == 4:
            os.kill(ran_by[-1], signal.SIGKILL)
        return document

    monkeypatch.setattr("replay.matrix.dask_pool.store_remote", store_and_kill)
    code, document, _ = run_matrix_json(name, "--out", "M", "--executor", executor_of(cluster))
    assert (code, document["ran"]) == (0, 24)
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


class Blaming:
    """A cluster that blames a cell which only waited where another one killed its worker."""

    status = "running"

    def __init__(self):
        self.sent = []

    def nthreads(self):
        return {"a": 1}

    def submit(self, _task, _draw_page, message):
        key = message["job"]["slug"]
        future = concurrent.futures.Future()
        if key == "killer" or (key == "innocent" and key not in self.sent):
            future.set_exception(distributed.KilledWorker(key, None, 3))
        else:
            future.set_result({"document": {"of": key}})
        self.sent.append(key)
        return future


def test_who_only_waited_where_a_worker_died_runs_once_more_alone(monkeypatch):
    monkeypatch.setattr(
        "replay.matrix.dask_pool.store_remote",
        lambda _cells, _key, answer: answer["document"],
    )
    pool, cluster = DaskPool("dask://x:1", draw_page), Blaming()
    pool._client = pool._executor = cluster
    keys = ("killer", "innocent", "other")
    jobs = [(key, {"slug": key, "trace_path": "t", "cells": "c"}) for key in keys]
    ended = {each.key: each for each in pool.run(jobs)}
    assert {key: each.state for key, each in ended.items()} == {
        "killer": "crashed",
        "innocent": "finished",
        "other": "finished",
    }
    assert ended["innocent"].value == {"of": "innocent"}
    assert cluster.sent == [*keys, "killer", "innocent"]


def test_without_dask_one_sentence_says_what_to_install(matrix_file, kvreplay, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = kvreplay(
        "matrix", "run", matrix_file(), "--out", "M", "--executor", "dask://127.0.0.1:1"
    )
    assert code == 2
    assert "Dask is not installed; install kvreplay[dask]" in err


def test_a_cluster_whose_workers_are_gone_is_not_waited_for_for_ever(monkeypatch):
    class Deserted(Blaming):
        """Takes tasks, and nobody is there to do them."""

        def nthreads(self):
            return {}

        def submit(self, _task, _draw_page, message):
            return concurrent.futures.Future()

    monkeypatch.setattr("replay.matrix.dask_pool._LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("replay.matrix.dask_pool._NO_WORKER_S", 0.05)
    pool = DaskPool("dask://x:1", draw_page)
    pool._client = pool._executor = Deserted()
    job = ("a", {"slug": "a", "trace_path": "t.parquet"})
    with pytest.raises(MatrixError, match=r"no worker is left there.*--resume"):
        list(pool.run([job]))
