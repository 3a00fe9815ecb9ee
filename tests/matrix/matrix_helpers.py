"""What tests of matrices share: results without timing, and tasks that go wrong."""

import errno
import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from replay.matrix.dask_pool import run_remote
from replay.matrix.run_one import run_message

#: Eight cells that take a moment each: two engines, with and without loss, two seeds.
SMALL = """\
name = "small"

[axes]
profile = ["hardened", "sglang-0.4.6.post4"]
topology = ["tp2:tp2dp2"]
total_tokens = [65536]
plan = ["none", "lossy"]
seed = [0, 1]

[trace.tiny]
requests = 30
rate_per_s = 8
prompt_tokens_median = 128
system_tokens_median = 128
output_tokens_median = 16

[plan.lossy]
comment = "one completion in five is lost"
[[plan.lossy.rule]]
name = "lost"
fault = "drop"
probability = 0.2

[[expect]]
verdict = ["clean", "transient"]

[[expect]]
cells = { profile = "sglang-*", plan = "lossy" }
verdict = "persistent"
kinds = "stuck"
"""


def rows_without_timing(directory):
    """The table of a matrix without the columns that depend on the host."""
    table = pq.read_table(Path(directory) / "results.parquet")
    return table.select([name for name in table.column_names if not name.startswith("timing_")])


def bytes_without_timing(directory, scratch):
    """The same as the bytes of a file."""
    path = Path(scratch) / "same.parquet"
    pq.write_table(rows_without_timing(directory), path, compression="zstd")
    return path.read_bytes()


def echo(message):
    """Give back what came; do what it says."""
    match message.get("do"):
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            os.abort()
        case "exit":
            os._exit(7)
        case "hang":
            if "note" in message:
                note = Path(message["note"])
                note.with_suffix(".part").write_text(str(os.getpid()))
                note.with_suffix(".part").rename(note)
            time.sleep(600)
        case "grow":
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(2**20) * 64))
                time.sleep(0.01)
        case "raise":
            raise OSError(28, "No space left on device", message["value"])
        case "sleep":
            time.sleep(message["s"])
    return {"echo": message["value"], "pid": os.getpid()}


def crash_on_seed_one(draw_page, message):
    """Run a cell, but for those of seed 1 of hardened: they kill their process."""
    options = message["options"]
    if options["seed"] == 1 and options["profile"] == "hardened":
        os.kill(os.getpid(), signal.SIGSEGV)
    return run_message(draw_page, message)


def fill_the_disk_at_seed_one(draw_page, message):
    """Run a cell; the disk has no room for what those of seed 1 write at last."""

    def no_room(path, _document):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with pytest.MonkeyPatch.context() as patch:
        if message["options"]["seed"] == 1:
            patch.setattr("replay.run.replay_once.write", no_room)
        return run_message(draw_page, message)


def kill_workers_at_seed_one(draw_page, task):
    """Run a cell on a Dask worker; those of seed 1 of hardened without faults kill it."""
    options = task["job"]["options"]
    if (options["seed"], options["profile"], options["plan"]) == (1, "hardened", None):
        os.kill(os.getpid(), signal.SIGKILL)
    return run_remote(draw_page, task)
