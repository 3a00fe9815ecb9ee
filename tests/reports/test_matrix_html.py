"""The page of a matrix as text: how it is arranged, what it must never let through, how it lands."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from matrix_results import (
    HOSTILE,
    MATRIX,
    draw_matrix_page,
    row,
    table,
    thousand_cells,
    write_matrix,
)

from replay.errors import MatrixError, RecordingError
from reports.outputs.matrix.cells import read_cells
from reports.outputs.matrix.layout import make_layout
from reports.outputs.matrix.page import render_matrix_page
from traces.errors import OutputError


def page_of(rows, **changes):
    return render_matrix_page(table(rows), {**MATRIX, **changes})


def scripts(page):
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def data_of(page):
    [data] = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
    )
    return json.loads(data)


def layout_of(rows):
    return make_layout(read_cells(table(rows)))


def test_nothing_from_outside_is_markup():
    axes = ("trace", "profile", "topology", "plan", "defects", "settings")
    hostile = [
        row(
            number,
            **dict.fromkeys(axes, f"{number}{HOSTILE}"),
            **dict.fromkeys(("cell", "because", "why", "equation", "error", "reproduce"), HOSTILE),
            outcome="failed",
        )
        for number in range(2)
    ]
    page = page_of(hostile, name=HOSTILE, file={"path": HOSTILE}, shard=HOSTILE, kvreplay=HOSTILE)
    assert "<script>document" not in page
    assert "<img" not in page
    assert len(scripts(page)) == 1
    assert page.count("<script") == page.count("</script>") == 2
    assert HOSTILE in data_of(page)["texts"]


def test_the_policy_allows_its_script_and_nothing_from_outside():
    page = page_of([row()])
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    digest = base64.b64encode(hashlib.sha256(scripts(page)[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert not re.search(r"@import|url\(", page)


@pytest.mark.parametrize(
    "report",
    [
        "javascript:alert(1)",
        "https://example.org/",
        "../../etc/passwd",
        "cells/../../x.html",
        "x",
        None,
    ],
)
def test_only_reports_beside_the_page_are_linked(report):
    page = page_of([row(report=report)])
    assert re.findall(r'href="([^"]*)"', page) == ["#grid"]


def test_a_report_with_an_odd_name_is_found():
    page = page_of([row(report="cells/50% #1.html")])
    assert 'href="cells/50%25%20%231.html"' in page


def test_columns_are_plans_and_rows_the_other_axes_that_vary():
    layout = layout_of(thousand_cells())
    assert layout.column_axes == ("plan",)
    assert layout.row_axes == ("profile", "topology", "seed")
    assert [len(line) for line in layout.headings] == [10]
    assert [group.value for group in layout.groups][:2] == [
        "sglang-0.4.6.post3",
        "sglang-0.4.6.post4",
    ]
    assert [row.values for row in layout.groups[0].rows][9:11] == [
        ("tp8/dp8", "10"),
        ("tp4/dp4", "1"),
    ]
    # Every cell has exactly one place.
    places = [
        at for group in layout.groups for row in group.rows for place in row.places for at in place
    ]
    assert sorted(places) == list(range(1000))
    assert ("trace", "traces/toolagent.parquet") in layout.fixed


def test_seeds_stand_under_their_plan_when_they_fit():
    rows = [
        row(number, plan=plan, seed=seed)
        for number, (plan, seed) in enumerate((p, s) for p in ("a", "b") for s in (1, 2, 3))
    ]
    layout = layout_of(rows)
    assert layout.column_axes == ("plan", "seed")
    assert [[(each.value, each.columns) for each in line] for line in layout.headings] == [
        [("a", 3), ("b", 3)],
        [(seed, 1) for seed in ("1", "2", "3", "1", "2", "3")],
    ]
    assert layout.groups[0].rows[0].places == ((0,), (1,), (2,), (3,), (4,), (5,))


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([row(0)], ()),
        ([row(0), row(1)], ()),
        ([row(0, seed=1), row(1, seed=2)], ("seed",)),
        ([row(0, profile="a"), row(1, profile="b"), row(2, page_size=1)], ("profile",)),
        ([row(n, seed=n, page_size=n % 2) for n in range(100)], ("page_size",)),
    ],
)
def test_one_plan_leaves_the_columns_to_another_axis(rows, columns):
    assert layout_of(rows).column_axes == columns
    page = page_of(rows)
    assert page.count('data-cell="') == len(rows)


def test_a_matrix_without_cells_says_so():
    assert "There are no cells." in page_of([])


@pytest.mark.slow
def test_a_thousand_cells_are_a_small_page_made_quickly(tmp_path):
    write_matrix(tmp_path, thousand_cells())
    draw_matrix_page(tmp_path)
    first = (tmp_path / "matrix.html").read_bytes()
    assert len(first) < 2**20
    assert first.count(b'data-cell="') == 1000
    draw_matrix_page(tmp_path)
    assert (tmp_path / "matrix.html").read_bytes() == first
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "cells",
        "matrix.html",
        "matrix.json",
        "results.parquet",
    ]


@pytest.mark.slow
def test_the_results_of_a_matrix_are_drawn_without_torch(tmp_path):
    write_matrix(tmp_path, [row()])
    program = (
        "import sys; from pathlib import Path; from reports.outputs.matrix.outputs import default_page, write_matrix_outputs; "
        "from reports.outputs.together import plan_outputs; import reports.outputs.matrix.junit; "
        "folder = Path(sys.argv[1]); write_matrix_outputs(folder, plan_outputs((default_page(folder),))); "
        "print(sorted({'torch', 'vl_convert', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    write_matrix(tmp_path, [row()])
    good = (tmp_path / "results.parquet").read_bytes()
    for name, content, said in (
        ("results.parquet", b"PAR1", "results.parquet: missing or not a Parquet file"),
        ("matrix.json", b"{", "not a matrix directory: it has no readable matrix.json"),
        ("matrix.json", b"[]", "matrix.json: not of the schema 'kvreplay.matrix/"),
    ):
        write_matrix(tmp_path, [row()])
        (tmp_path / name).write_bytes(content)
        with pytest.raises((RecordingError, MatrixError), match=said) as raised:
            draw_matrix_page(tmp_path)
        assert "\n" not in str(raised.value)
    (tmp_path / "results.parquet").write_bytes(good)
    (tmp_path / "matrix.json").unlink()
    with pytest.raises(MatrixError, match="it has no readable matrix"):
        draw_matrix_page(tmp_path)
    assert not (tmp_path / "matrix.html").exists()


def test_a_full_disk_leaves_the_earlier_page(tmp_path, monkeypatch):
    write_matrix(tmp_path, [row()])
    draw_matrix_page(tmp_path)
    before = (tmp_path / "matrix.html").read_bytes()
    write_matrix(tmp_path, [row(outcome="failed")])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        draw_matrix_page(tmp_path)
    assert (tmp_path / "matrix.html").read_bytes() == before
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]
