"""`kvreplay report` on the directory of a matrix: its own page drawn anew, where its cells are."""

import json

import pytest
from matrix_results import row, write_matrix

from replay.cli import run_command_line


@pytest.fixture
def matrix(work_dir):
    write_matrix(work_dir / "m", [row(0), row(1, outcome="failed", verdict="persistent")])
    return work_dir / "m"


def test_its_page_is_drawn_where_it_links_from(matrix, capsys):
    assert run_command_line(["report", "m", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == "m/matrix.html" and told["cells"] == 2
    page = (matrix / "matrix.html").read_bytes()
    assert page.startswith(b"<!doctype html>") and b"cell-1" in page
    assert run_command_line(["report", "m", "-o", "m/again.html", "-o", "sum.md"]) == 0
    assert (matrix / "again.html").read_bytes() == page
    assert "cell-1" in (matrix.parent / "sum.md").read_text()
    printed = capsys.readouterr().out
    assert printed.splitlines() == ["m/again.html: 2 cells", "sum.md: 2 cells"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m", "-o", "elsewhere.html"], "has to be in m"),
        (["m", "-o", "m/x.png"], "drawn as .html or .md only"),
        (["m", "--perfetto", "x.json.gz"], "drawn as .html or .md only"),
        (["m", "CLEAN"], "m: is a matrix"),
        (["CLEAN", "m"], "m: is a matrix"),
        (["half"], "half/results.parquet: missing"),
    ],
)
def test_what_a_matrix_is_not_drawn_as_is_said(recordings, matrix, capsys, words, said):
    write_matrix(matrix.parent / "half", [row()])
    (matrix.parent / "half" / "results.parquet").unlink()
    before = sorted(matrix.parent.rglob("*"))
    words = [word.replace("CLEAN", str(recordings["clean"])) for word in words]
    assert run_command_line(["report", *words]) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1
    assert sorted(matrix.parent.rglob("*")) == before
