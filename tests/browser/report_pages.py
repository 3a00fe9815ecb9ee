"""Pages to look at: a leak, a comparison of it with a run without faults, and a matrix."""

import contextlib
from pathlib import Path

from matrix_results import draw_matrix_page, thousand_cells, write_matrix

from replay.cli import run_command_line
from reports.page import write_report

PROFILE = ["--profile", "sglang-0.4.6.post4", "--seed", "7", "--device", "cpu"]


def make_pages(root):
    """Make them below `root`; returns their files by name. Nothing on them says where that is."""
    with contextlib.chdir(root):
        synth = ["trace", "synth", "-o", "trace.parquet", "--requests", "60", "--rate", "4"]
        assert run_command_line([*synth, "--seed", "1"]) == 0
        for name, faults in {"lost": ["--drop", "0.1"], "calm": []}.items():
            run_command_line(["run", "trace.parquet", *PROFILE, *faults, "--out", name])
        write_report([Path("lost")], Path("leak.html"))
        write_report([Path("lost"), Path("calm")], Path("comparison.html"))
        matrix = Path("matrix")
        matrix.mkdir()
        write_matrix(matrix, thousand_cells())
        draw_matrix_page(matrix)
    names = {"leak": "leak.html", "comparison": "comparison.html", "matrix": "matrix/matrix.html"}
    return {name: root / path for name, path in names.items()}
