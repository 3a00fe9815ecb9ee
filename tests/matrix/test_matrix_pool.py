"""The pool: whatever a job does, it is that job's result, and the others' go on."""

import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from matrix_helpers import echo
from waiting import HANGS_S, wait_until

from replay.errors import MatrixError
from replay.matrix.pool import LocalPool


def run(jobs, count=2, **limits):
    with LocalPool(echo, count, **limits) as pool:
        return {ended.key: ended for ended in pool.run(jobs.items())}


@pytest.mark.slow
def test_every_job_is_answered_and_no_more_workers_are_used_than_asked_for():
    ended = run({str(number): {"value": number} for number in range(30)}, count=2)
    assert {key: each.value["echo"] for key, each in ended.items()} == {
        str(number): number for number in range(30)
    }
    assert len({each.value["pid"] for each in ended.values()}) <= 2
    assert os.getpid() not in {each.value["pid"] for each in ended.values()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "state", "words"),
    [
        ("die", "crashed", "killed by SIGKILL, perhaps for want of memory"),
        ("abort", "crashed", "killed by SIGABRT"),
        ("exit", "crashed", "ended with exit code 7"),
        ("hang", "timed-out", "took longer than its budget of 3 s"),
        ("grow", "out-of-memory", "took more memory than its budget of 700 MB"),
    ],
)
def test_a_job_that_goes_wrong_is_told_apart_and_costs_no_other(deed, state, words):
    jobs = {"before": {"value": 1}, "bad": {"do": deed, "value": 2}}
    jobs |= {f"after{number}": {"value": number} for number in range(4)}
    limits = {"hang": {"cell_s": 3}, "grow": {"memory_bytes": 700 * 2**20}}.get(deed, {})
    for count in (1, 2):
        ended = run(jobs, count, **limits)
        assert set(ended) == set(jobs)
        assert (ended["bad"].state, ended["bad"].value) == (state, None)
        assert words in ended["bad"].error
        assert all(each.state == "finished" for key, each in ended.items() if key != "bad")


def test_jobs_are_taken_only_when_there_is_room():
    taken = []

    def jobs():
        for number in range(6):
            taken.append(number)
            yield str(number), {"value": number}

    with LocalPool(echo, 1) as pool:
        for count, _ in enumerate(pool.run(jobs()), start=1):
            assert len(taken) <= count + 1


def test_nothing_goes_on_after_the_time_for_all():
    with LocalPool(echo, 2) as pool:
        # How long workers take to start depends on what else the machine does.
        list(pool.run([("first", {"value": 0})]))
        started = time.monotonic()
        jobs = {"slow": {"do": "hang", "value": 2}, "quick": {"value": 1}}
        ended = [each.key for each in pool.run(jobs.items(), started + 6)]
    assert ended == ["quick"]
    assert 6 <= time.monotonic() - started < HANGS_S


def test_a_result_that_cannot_be_kept_ends_all_and_says_why():
    jobs = {"slow": {"do": "hang", "value": 2}, "bad": {"do": "raise", "value": "x.json"}}
    with pytest.raises(MatrixError, match=r"bad: .*No space left on device: 'x.json'"):
        run(jobs)


def test_leaving_early_kills_what_runs():
    with LocalPool(echo, 2) as pool:
        jobs = {"slow": {"do": "hang", "value": 2}, "quick": {"value": 1}}
        next(pool.run(jobs.items()))
        pids = [worker.process.pid for worker in pool._workers]
        assert pool.running() == 1
    assert not any(alive(pid) for pid in pids)


def test_workers_die_with_a_parent_that_is_killed(tmp_path):
    context = multiprocessing.get_context("forkserver")
    parent = context.Process(target=be_a_parent, args=(tmp_path,))
    parent.start()
    pids = [int(wait_for_text(tmp_path / name)) for name in "ab"]
    assert all(map(alive, pids))
    parent.kill()
    parent.join()
    wait_until(lambda: not any(map(alive, pids)))


def be_a_parent(directory):
    """Give two workers a job that never ends."""
    with LocalPool(echo, 2) as pool:
        jobs = {name: {"do": "hang", "note": str(directory / name), "value": 0} for name in "ab"}
        list(pool.run(jobs.items()))


def wait_for_text(path):
    wait_until(path.exists)
    return path.read_text()


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.3])
def test_workers_that_are_killed_while_they_start_hold_nothing_open(tmp_path, wait_s):
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with LocalPool(echo, 2, keep_open=descriptor) as pool:
        pool._workers.extend((pool._start(), pool._start()))
        time.sleep(wait_s)
    os.close(descriptor)
    with (tmp_path / "lock").open() as again:
        wait_until(lambda: is_free(again), "somebody still holds the lock")


def is_free(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def test_a_worker_holds_the_lock_while_it_lives(tmp_path):
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with LocalPool(echo, 1, keep_open=descriptor) as pool:
        list(pool.run([("a", {"value": 1})]))
        os.close(descriptor)
        with (tmp_path / "lock").open() as again, pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
