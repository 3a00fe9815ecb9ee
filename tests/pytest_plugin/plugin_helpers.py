"""The matrix that tests of the plugin run, and where pytest keeps temporary files."""

from pathlib import Path

#: Four cells that take a moment each; with `{verdict}` persistent all are as expected.
MATRIX = """\
[axes]
profile = ["hardened", "sglang-0.4.6.post4"]
topology = ["tp1:tp1"]
total_tokens = [65536]
plan = ["none", "lossy"]

[trace.tiny]
requests = 20
rate_per_s = 8
prompt_tokens_median = 128
output_tokens_median = 16

[plan.lossy]
[[plan.lossy.rule]]
name = "lost"
fault = "drop"
probability = 0.3

[[expect]]
verdict = ["clean", "transient"]

[[expect]]
cells = { profile = "sglang-*", plan = "lossy" }
verdict = "persistent"
"""
FALSIFIED = MATRIX.replace('verdict = "persistent"', 'verdict = "clean"')
#: Line of the falsified [[expect]].
FALSIFIED_LINE = 1 + MATRIX[: MATRIX.rindex("[[expect]]")].count("\n")


def temporary(folder):
    """pytest's folder of temporary directories of the last run."""
    return max(Path(folder.path.parent).glob("pytest-of-*/pytest-[0-9]*"))
