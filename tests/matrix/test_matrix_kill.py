"""Killed without warning at any moment, a matrix goes on and comes to the same end."""

import multiprocessing
import os
import random
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
from matrix_helpers import SMALL, bytes_without_timing
from waiting import wait_until

from replay.commands.matrix.shared import ReportWriters, draw_page
from replay.matrix.matrix import check_cells, load_matrix
from replay.matrix.pool import LocalPool, prepare
from replay.matrix.run_one import run_message
from replay.matrix.runner import RunPlan, run_matrix
from replay.matrix.store import open_store

#: Moments in one test; `make kills` tries twenty.
KILLS = int(os.environ.get("KVREPLAY_MATRIX_KILLS", "6"))


class Unwatched:
    def begin(self, left, done):
        pass

    def ended(self, result, running):
        pass


def run_noted(message):
    """Run a cell, and note that it was begun."""
    with Path(message["cells"], "..", "begun.txt").open("a") as file:
        file.write(f"{message['slug']}\n")
    return run_message(draw_page, message)


def run_here(out):
    """Run or go on with the matrix; return how many cells were run."""
    with open_store(out, "resume", None) as (store, lock):
        pool = LocalPool(run_noted, 2, keep_open=lock)
        plan = RunPlan(writers=ReportWriters(), reports="none")
        matrix = load_matrix(Path("m.kvmatrix.toml"))
        checked = check_cells(matrix.source, matrix.cells)
        return run_matrix(matrix, checked, store, pool, plan, Unwatched()).ran


def run_as_victim(out, address):
    """The same in a process of its own, whose workers come from the test's fork server."""
    forkserver._forkserver._forkserver_address = address
    forkserver._forkserver.ensure_running = forkserver.ensure_running = lambda: None
    run_here(out)


def cells_done(out):
    return len(list(out.glob("cells/*.json")))


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_and_nothing_runs_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.kvmatrix.toml").write_text(SMALL)
    prepare()
    assert run_here(Path("whole")) == 8
    whole = bytes_without_timing("whole", tmp_path)
    # Without what only the first run waits for.
    (tmp_path / "whole" / "results.parquet").unlink()
    for path in Path("whole/cells").glob("*.json"):
        path.unlink()
    started = time.monotonic()
    assert run_here(Path("whole")) == 8
    takes_s = time.monotonic() - started
    context = multiprocessing.get_context("forkserver")
    chance = random.Random(5)
    done_counts = set()
    for number in range(KILLS):
        out = Path(f"M{number}")
        victim = context.Process(
            target=run_as_victim, args=(out, forkserver._forkserver._forkserver_address)
        )
        victim.start()
        # From none to all; where between one result and the next is left to chance.
        enough = number * 9 // KILLS
        wait_until(lambda: cells_done(out) >= enough or not victim.is_alive())  # noqa: B023
        victim.join(chance.uniform(0, takes_s / 8))
        victim.kill()
        victim.join()
        wait_for_fork_server(context)
        done = {path.name for path in Path(out, "cells").glob("*.json")}
        was_finished = (out / "results.parquet").exists()
        begun = noted(out)
        ran = run_here(out)
        done_counts.add(len(done))
        assert ran <= 8 - len(done)
        assert bytes_without_timing(out, tmp_path) == whole
        again = noted(out)[len(begun) :]
        assert not {f"{slug}.json" for slug in again} & done
        assert len(again) == ran == len(set(again))
        if was_finished:
            assert ran == 0
        # What the killed workers left is gone.
        left = [*out.iterdir(), *Path(out, "cells").iterdir()]
        assert [path.name for path in left if path.name.startswith(".")] == []
        assert len(list(Path(out, "cells").iterdir())) == 16
    assert len(done_counts) >= 4, "the moments were not random enough to mean anything"


def wait_for_fork_server(context):
    """A victim that dies while it asks for a worker takes the fork server along: have a new one.

    Only this test shares one; of a real run, nobody is left who would miss it.
    """
    for _ in range(100):
        try:
            process = context.Process(target=int)
            process.start()
            process.join()
            return
        except (OSError, EOFError):
            time.sleep(0.05)


def noted(out):
    path = out / "begun.txt"
    return path.read_text().split() if path.exists() else []
