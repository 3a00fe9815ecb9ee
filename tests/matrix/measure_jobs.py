"""How much faster two jobs finish a matrix of 200 cells than one: python tests/matrix/measure_jobs.py

Both are run in turn, from nothing, as a user would run them; start-up and results included.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3

MATRIX = """\
name = "two-hundred"

[axes]
profile = ["hardened", "sglang-0.4.6.post4"]
topology = ["tp4:tp4dp4", "2xtp2:tp4dp2"]
total_tokens = [131072]
plan = ["none", "lossy"]
seed = {seeds}

[trace.chat]
requests = 400
rate_per_s = 20
prompt_tokens_median = 256
system_tokens_median = 256
output_tokens_median = 64

[plan.lossy]
[[plan.lossy.rule]]
fault = "drop"
probability = 0.01
"""


def main() -> None:
    """Print each round and the ratio of the best."""
    kvreplay = Path(sys.executable).with_name("kvreplay")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "m.kvmatrix.toml")
        path.write_text(MATRIX.format(seeds=list(range(25))))
        best: dict[int, float] = {}
        for number in range(ROUNDS):
            for jobs in (1, 2):
                words = ["matrix", "run", path, "--jobs", str(jobs), "--reports", "none"]
                started = time.monotonic()
                subprocess.run(
                    [kvreplay, *words, "--out", Path(directory, "M"), "--restart"],
                    capture_output=True,
                    check=False,
                )
                took = time.monotonic() - started
                best[jobs] = min(took, best.get(jobs, took))
                print(
                    f"round {number + 1}: {jobs} jobs, {took:.1f} s, load {os.getloadavg()[0]:.1f}"
                )
        print(
            f"200 cells: {best[1]:.1f} s and {best[2]:.1f} s, {best[1] / best[2]:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
