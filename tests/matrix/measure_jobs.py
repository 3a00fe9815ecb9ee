"""How much faster two jobs finish a matrix of 200 cells than one.

    python tests/matrix/measure_jobs.py [REQUESTS OF A CELL] [all|none]

One job, two, and again one job, back to back, so that a machine that gets slower or faster meanwhile
favours neither. What is serial (some three seconds, most of them the import of torch) weighs less the
more there is to replay. Two cores of their own are needed for the ratio to mean anything: see how many
the runs had.
"""

import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CELLS = 200

MATRIX = """\
name = "two-hundred"

[axes]
profile = ["hardened", "sglang-0.4.6.post4"]
topology = ["tp4:tp4dp4", "2xtp2:tp4dp2"]
total_tokens = [131072]
plan = ["none", "lossy"]
seed = {seeds}

[trace.chat]
requests = {requests}
rate_per_s = 20
prompt_tokens_median = 256
system_tokens_median = 256
output_tokens_median = 64

[plan.lossy]
[[plan.lossy.rule]]
fault = "drop"
probability = 0.01

# Every cell as expected: pages of others have charts, which cost more than their replay.
[[expect]]
verdict = ["clean", "transient", "persistent"]
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took; CPU seconds hardly depend on who else uses the machine."""

    wall_s: float
    cpu_s: float


def run(directory: Path, jobs: int, reports: str) -> Run:
    """Run the matrix from nothing, as a user would; start-up and results included."""
    kvreplay = Path(sys.executable).with_name("kvreplay")
    words = ["matrix", "run", "m.kvmatrix.toml", "--jobs", str(jobs), "--reports", reports]
    cpu_before = cpu_of_children_s()
    started = time.monotonic()
    done = subprocess.run(
        [kvreplay, *words, "--out", "M", "--restart", "--json"],
        cwd=directory,
        capture_output=True,
        check=False,
    )
    wall_s = time.monotonic() - started
    wait_for_orphans()
    taken = Run(wall_s, cpu_of_children_s() - cpu_before)
    cells = json.loads(done.stdout)["cells"]
    assert cells == CELLS, f"{cells} cells instead of {CELLS}"
    load = os.getloadavg()[0]
    print(
        f"  {jobs} jobs, reports {reports}: {taken.wall_s:.1f} s, {taken.cpu_s:.1f} s of CPU, "
        f"{taken.cpu_s / taken.wall_s:.2f} cores, load {load:.1f}",
        flush=True,
    )
    return taken


def adopt_orphans() -> None:
    """Have processes whose parent is gone become this one's: workers outlive theirs by a moment."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def wait_for_orphans() -> None:
    """Only who has been waited for has its time counted."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def cpu_of_children_s() -> float:
    """CPU seconds of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure one, two, and again one job back to back; print the ratio."""
    adopt_orphans()
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    reports = sys.argv[2] if len(sys.argv) > 2 else "all"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        seeds = list(range(CELLS // 8))
        (directory / "m.kvmatrix.toml").write_text(MATRIX.format(seeds=seeds, requests=requests))
        one, two, again = (run(directory, jobs, reports) for jobs in (1, 2, 1))
        ratio = (one.wall_s + again.wall_s) / 2 / two.wall_s
        print(
            f"{CELLS} cells of {requests} requests, reports {reports}: {ratio:.2f} times as fast",
            flush=True,
        )


if __name__ == "__main__":
    main()
