"""The page on two recordings in a real browser: before and after, on a desk and on a phone."""

import contextlib

import pytest
from visits import Visit

from replay.cli import run_command_line
from reports.page import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A leak, and the same replay without its fault; charts are looked at elsewhere."""
    root = tmp_path_factory.mktemp("pages")
    trace = str(root / "trace.parquet")
    words = ["trace", "synth", "-o", trace, "--requests", "60", "--rate", "4", "--seed", "1"]
    assert run_command_line(words) == 0
    for name, faults in {"before": ["--drop", "0.1"], "after": ["--delay", "0.05:1500"]}.items():
        words = ["run", trace, "--profile", "sglang-0.4.6.post4", "--seed", "7", "--device", "cpu"]
        run_command_line([*words, *faults, "--out", str(root / name)])
    write_report([root / "before", root / "after"], root / "both.html", charts=False)
    return root / "both.html"


@pytest.fixture
def visit(chromium, page_file):
    """Open the page, offline; gives a function of width and colour scheme."""
    with contextlib.ExitStack() as open_visits:

        def open_page(width=1280, scheme="light"):
            visit = Visit(chromium, page_file, width, scheme, offline=True)
            return open_visits.enter_context(visit)

        yield open_page


def test_what_became_of_it_is_in_sight_and_both_stand_side_by_side(visit):
    opened = visit()
    page = opened.page
    told = page.get_by_text("The leak is gone")
    assert told.is_visible() and told.bounding_box()["y"] < 400
    before, after = page.locator(".half").all()
    assert before.bounding_box()["y"] == after.bounding_box()["y"]
    assert after.bounding_box()["x"] > before.bounding_box()["x"] + before.bounding_box()["width"]
    left, right = page.locator(".curve .chart.wide").all()[:2]
    assert left.bounding_box()["width"] == pytest.approx(right.bounding_box()["width"], abs=1)
    assert opened.problems == []


def test_on_a_phone_they_stand_one_above_the_other_and_nothing_scrolls_sideways(visit):
    page = visit(width=360).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    before, after = page.locator(".half").all()
    assert after.bounding_box()["y"] >= before.bounding_box()["y"] + before.bounding_box()["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    beyond = page.evaluate(
        """() => [...document.querySelectorAll('.comparison *')].filter(each =>
             !each.closest('.scroll') && !each.closest('svg')
             && each.getBoundingClientRect().right > 361).map(each => each.outerHTML)"""
    )
    assert beyond == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_everybody_can_read_it(visit, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(width, scheme).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(page, context={"include": [["#comparison"]]}).response["violations"]
    grave = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
    assert grave == []


def test_a_curve_has_a_name_and_a_table_behind_it(visit):
    page = visit().page
    names = [each.get_attribute("aria-label") for each in page.locator(".curve [role=img]").all()]
    assert names and all("tokens" in name for name in names)
    summary = page.get_by_text("The numbers behind these curves").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("columnheader", name="before: widest gap, tokens").first.is_visible()
