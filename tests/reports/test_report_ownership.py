"""The map of the pool on the page: no page of the gap is lost in it, and its sums are checked."""

import re

import numpy as np
import pytest
from report_helpers import HOSTILE, copy_changed, record

from faults.rule import FaultPlan, FaultRule
from reports.evidence import load
from reports.page import render_report
from reports.parts.ownership.drawing import CELLS_MAX, cell_codes, draw, pages_per_cell
from reports.parts.ownership.page_map import CATEGORIES, PageMap, Stretch
from reports.parts.ownership.part import check_ownership, make_ownership

WORDS = [category.word for category in CATEGORIES]


def drawn(recordings, name, anchor="r1"):
    evidence = load(recordings[name])
    return evidence, make_ownership(evidence, anchor)


@pytest.mark.parametrize("name", ["leak", "late", "busy", "over-free"])
def test_every_check_of_the_map_passes(recordings, name):
    evidence, part = drawn(recordings, name)
    assert part.wide is not None
    assert part.cautions == ()
    checks = check_ownership(evidence)
    assert len(checks) >= 4
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("name", ["leak", "late", "busy"])
def test_the_gap_of_the_legend_is_that_of_the_equation(recordings, name):
    evidence, part = drawn(recordings, name)
    in_gap = [row.pages for row in part.legend if row.category.in_gap]
    pages = sum(int(text.replace(",", "")) for text in in_gap)
    assert pages == evidence.summary["mismatch"]["pages"]
    shown = [int(row[2].replace(",", "")) for row in part.gap_pages.rows]
    assert sum(shown) == pages
    assert part.gap_pages.of == len(shown)


def test_over_freed_pages_are_told(recordings):
    evidence, part = drawn(recordings, "over-free")
    assert "over-freed" in {row.category.word for row in part.legend}
    leaked, excess, gap = re.search(
        r"(\d+) \N{MINUS SIGN} (\d+) = (\S+), the gap in pages", part.told
    ).groups()
    assert int(gap.replace("\N{MINUS SIGN}", "-")) == evidence.summary["mismatch"]["pages"]
    assert int(leaked) - int(excess) == evidence.summary["mismatch"]["pages"]


def test_a_healthy_recording_has_no_map(recordings):
    evidence, part = drawn(recordings, "clean")
    assert part is None
    assert check_ownership(evidence) == ()


@pytest.mark.parametrize(
    ("column", "value"),
    [("pages", 3), ("state", "running"), ("request_id", "somebody else"), ("state", "departed")],
)
def test_a_changed_map_is_noticed(recordings, tmp_path, column, value):
    evidence = load(recordings["leak"])
    rows = evidence.tables["pages"].to_pylist()
    row = next(at for at, each in enumerate(rows) if each["state"] == "stalled")
    copy = copy_changed(recordings["leak"], tmp_path / "copy", "pages", column, row, value)
    assert any(not check.passed for check in check_ownership(load(copy)))


def test_a_recording_of_an_earlier_version_is_shown_without_a_map(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    (copy / "pages.parquet").unlink()
    page = render_report([copy], charts=False)
    assert "This recording has no map" in page
    assert 'class="own"' not in page
    assert "fail" not in re.findall(r'<li class="(\w+)"', page)


def test_a_map_of_another_audit_says_so(recordings, tmp_path):
    evidence = load(recordings["leak"])
    other = next(
        row["audit"]
        for row in evidence.tables["audits"].to_pylist()
        if row["pool"] == evidence.summary["mismatch"]["pool"]
        and row["gap"]
        and row["audit"] != evidence.summary["mismatch"]["audit"]
    )
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    rows = evidence.tables["pages"].num_rows
    for row in range(rows):
        source = copy if row == 0 else tmp_path / f"copy{row - 1}"
        copy_changed(source, tmp_path / f"copy{row}", "pages", "audit", row, other)
    part = make_ownership(load(tmp_path / f"copy{rows - 1}"), "r1")
    assert "This is not the audit of the worst gap" in part.cautions[0]


def test_ids_are_unique_on_a_page_of_several_recordings(recordings):
    page = render_report([recordings["leak"], recordings["late"]], charts=False)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    assert page == render_report([recordings["leak"], recordings["late"]], charts=False)


def test_hostile_names_are_text(tmp_path, recordings):
    trace = recordings["leak"].parent / "trace.parquet"
    lost = FaultRule(name="lost", fault="drop", request_ids=frozenset({f"r2{HOSTILE}"}))
    out = record(tmp_path / "out", trace, "sglang-0.4.6.post4", FaultPlan((lost,)))
    part = make_ownership(load(out), "r1")
    assert any(HOSTILE in row[4] for row in part.gap_pages.rows)
    assert HOSTILE not in render_report([out], charts=False)


def page_map(*stretches):
    made, first = [], 1
    for word, pages in stretches:
        made.append(Stretch(first, pages, word, word, None, None, 1, 0))
        first += pages
    return PageMap("p", 0, 0, 0, tuple(made))


@pytest.mark.parametrize("word", [each.word for each in CATEGORIES if each.in_gap])
def test_one_page_of_the_gap_in_thirteen_million_is_seen(word):
    found = page_map(("running", 7_000_000), (word, 1), ("free", 6_858_303))
    cells = cell_codes(found)
    assert len(cells) <= CELLS_MAX
    assert pages_per_cell(found.pages) * len(cells) >= found.pages
    assert (cells == WORDS.index(word)).sum() == 1
    assert f"-{word}" in draw(found, "r1", narrow=False)


def test_the_cells_of_a_small_pool_are_its_pages():
    stretches = [("free", 3), ("stuck", 1), ("cached", 2), ("double-owned", 1), ("in transfer", 70)]
    expected = [WORDS.index(word) for word, pages in stretches for _ in range(pages)]
    assert cell_codes(page_map(*stretches)).tolist() == expected


def test_the_area_drawn_is_that_of_the_cells():
    dice = np.random.default_rng(5)
    words = [WORDS[each] for each in dice.integers(0, len(WORDS), 300)]
    found = page_map(
        *((word, int(pages)) for word, pages in zip(words, dice.integers(1, 9, 300), strict=True))
    )
    cells = cell_codes(found)
    for narrow, side in ((False, 14), (True, 11)):
        svg = draw(found, "r1", narrow=narrow)
        for code, word in enumerate(WORDS):
            (path,) = re.findall(
                rf'd="([^"]+)" fill="url\(#r1-\w+-{word.replace(" ", "-")}\)"', svg
            )
            area = sum(int(width) * side for width in re.findall(r"\dh(\d+)v", path))
            assert area == int((cells == code).sum()) * side * side


def test_every_category_has_a_pattern_of_its_own():
    found = page_map(*((word, 1) for word in WORDS))
    patterns = re.findall(r"<pattern [^>]*>(.*?)</pattern>", draw(found, "r1", narrow=False))
    strokes = [
        re.sub(r'class="own-[a-z-]+"/><?', "", each.split("</rect>")[-1]) for each in patterns
    ]
    assert len(set(strokes)) == len(WORDS)


@pytest.mark.parametrize("narrow", [False, True])
def test_no_cell_is_drawn_outside_of_the_grid(narrow):
    svg = draw(page_map(("free", 700), ("stuck", 500)), "r1", narrow=narrow)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    pieces = re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)", svg)
    assert pieces
    for x, y, across, down in pieces:
        assert int(x) + int(across) <= width
        assert int(y) + int(down) <= height
