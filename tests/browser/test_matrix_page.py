"""The matrix page in a real browser: a thousand cells, filtered, opened, and worked by keys alone."""

import pytest
from matrix_results import HOSTILE, draw_matrix_page, row, thousand_cells, write_matrix
from visits import Visit

from replay.cli import run_command_line
from replay.recording.reader import Recording
from reports.page import write_report

pytestmark = pytest.mark.browser

SHOWN = "document.querySelectorAll('a[data-cell]:not([hidden])').length"
FOCUSED = "document.activeElement.dataset.cell"


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    root = write_matrix(tmp_path_factory.mktemp("thousand"), thousand_cells())
    draw_matrix_page(root)
    return root / "matrix.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Every text of every cell and of the matrix would run if it could; two cells, one unexpected."""
    texts = dict.fromkeys(
        ("trace", "topology", "because", "why", "equation", "error", "reproduce", "expected"),
        HOSTILE,
    )
    rows = [
        row(0, cell=f"0{HOSTILE}", profile=f"0{HOSTILE}", plan=f"0{HOSTILE}", **texts),
        row(
            1,
            cell=f"1{HOSTILE}",
            profile=f"1{HOSTILE}",
            plan=f"1{HOSTILE}",
            outcome="failed",
            **{**texts, "report": "javascript:document.title='run'"},
        ),
    ]
    file = {"path": HOSTILE, "sha256": HOSTILE, "text": ""}
    root = write_matrix(tmp_path_factory.mktemp("hostile"), rows, name=HOSTILE, file=file)
    draw_matrix_page(root)
    return root / "matrix.html"


def cell(page, number):
    return page.locator(f'[data-cell="{number}"]')


def test_it_loads_nothing_and_complains_of_nothing(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.requests == [thousand.as_uri()]
        assert visit.problems == []
        assert visit.page.evaluate(SHOWN) == 1000
        assert visit.page.get_by_text("6 of 1,000 cells not as expected").is_visible()


def test_the_filter_takes_words_of_any_axis_and_reacts_at_once(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        page = visit.page
        for words, shown in (
            ("LOST-completion 0.5.23", 20),
            ("lost-completion persistent hardened", 0),
            ("timed-out", 1),
            ("seed 10 tp4", 50),
            ("", 1000),
        ):
            page.fill("#filter", words)
            assert page.evaluate(SHOWN) == shown
            assert page.get_by_role("status").inner_text() == f"{shown:,} of 1,000 cells shown"
            assert page.get_by_text("No cell matches.").is_visible() == (shown == 0)
        before_ms = visit.cpu_ms()
        page.evaluate(
            """() => { const field = document.getElementById("filter");
                 for (const words of ["l", "lo", "los", "lost", ""]) {
                   field.value = words;
                   field.dispatchEvent(new Event("input"));
                   document.body.offsetHeight;
                 } }"""
        )
        assert (visit.cpu_ms() - before_ms) / 5 < 200


def test_a_filtered_grid_keeps_only_the_rows_and_columns_that_it_needs(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        visit.page.fill("#filter", "lost-completion 0.5.23 tp8")
        seen = visit.page.locator("#grid").inner_text().split()
        assert seen.count("P") == 10
        assert "builtin:lost-completion" in seen and "sglang-0.5.23" in seen
        assert not {"none", "hardened", "plans/early.toml", "tp4/dp4"} & set(seen)
        assert visit.page.locator("#grid tbody td:visible").count() == 10


def test_buttons_narrow_it_by_outcome_and_verdict(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        page = visit.page
        press = lambda name: page.get_by_role("button", name=name, exact=False).first.click()  # noqa: E731
        press("only unexpected")
        assert page.evaluate(SHOWN) == 6
        page.get_by_role("group", name="By outcome").get_by_text("crashed").click()
        assert page.evaluate(SHOWN) == 1
        page.get_by_role("group", name="By outcome").get_by_text("failed").click()
        assert page.evaluate(SHOWN) == 3
        press("Show all")
        assert page.evaluate(SHOWN) == 1000
        page.get_by_role("group", name="By verdict").get_by_text("transient").click()
        assert page.evaluate(SHOWN) == 100
        assert page.locator("button[aria-pressed=true]").count() == 1


def test_a_cell_shows_its_details_and_opens_its_report(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        page = visit.page
        cell(page, 123).click()
        detail = page.locator("#detail")
        for words in (
            "expected clean, found persistent",
            "(ci/nightly.kvmatrix.toml:12)",
            "gap 34048 tokens = 532 pages of 64",
            "3 landed of 3 planned, 3 observed",
        ):
            assert words in detail.inner_text()
        detail.get_by_role("button", name="Copy the command").click()
        page.get_by_text("Copied").wait_for()
        page.locator("#filter").focus()
        page.keyboard.press("Control+V")
        assert page.locator("#filter").input_value() == thousand_cells()[123]["reproduce"]
        page.get_by_role("link", name="Open its report").click()
        page.wait_for_url("**/cells/*.html")
        assert page.title() == "report 123"


def test_a_real_cell_leads_to_the_report_of_its_recording(chromium, tmp_path):
    trace = str(tmp_path / "trace.parquet")
    run_command_line(["trace", "synth", "-o", trace, "--requests", "30", "--rate", "4"])
    command = ["run", trace, "--profile", "sglang-0.4.6.post4", "--drop", "0.2", "--seed", "7"]
    out = tmp_path / "cells" / "lost"
    run_command_line([*command, "--device", "cpu", "--out", str(out)])
    summary = Recording.open(out).summary()
    lost = {
        key: summary[key] for key in ("verdict", "why", "growth", "engine_message", "reproduce")
    }
    rows = [row(0, cell="lost", report="cells/lost.html", outcome="failed", **lost)]
    write_matrix(tmp_path, rows)
    (tmp_path / "cells" / "lost.html").unlink()
    write_report([out], tmp_path / "cells" / "lost.html", charts=False)
    draw_matrix_page(tmp_path)
    with Visit(chromium, tmp_path / "matrix.html") as visit:
        cell(visit.page, 0).click()
        assert visit.page.locator("#detail-line").inner_text() == summary["reproduce"]
        visit.page.get_by_role("link", name="Open its report").click()
        assert visit.page.get_by_text("PERSISTENT").is_visible()
        assert visit.problems == []


def test_everything_can_be_done_with_the_keyboard_alone(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        page, press = visit.page, visit.page.keyboard.press
        focused = lambda: page.evaluate(FOCUSED)  # noqa: E731
        press("/")
        page.keyboard.type("post4 tp8")
        assert page.evaluate(SHOWN) == 100
        press("ArrowDown")
        first = int(focused())
        assert thousand_cells()[first]["profile"] == "sglang-0.4.6.post4"
        press("ArrowRight")
        press("ArrowRight")
        press("ArrowDown")
        press("ArrowLeft")
        # Columns are plans, which are ten seeds apart in the list; rows are seeds.
        assert int(focused()) == first + 10 + 1
        press("End")
        assert int(focused()) == first + 90 + 1
        press("Control+Home")
        assert int(focused()) == first
        press("PageDown")
        assert int(focused()) == first + 9
        press("Control+Home")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        # One stop of the Tab key, not a thousand.
        assert page.locator('a[data-cell]:not([tabindex="-1"])').count() == 1
        press("Enter")
        assert page.locator("#detail").is_visible()
        assert page.evaluate("document.activeElement.id") == "detail-report"
        press("Escape")
        assert not page.locator("#detail").is_visible()
        assert int(focused()) == first
        press("Enter")
        press("Enter")
        page.wait_for_url("**/cells/*.html")
        assert page.title() == f"report {first}"


def test_open_details_follow_the_arrows(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        page = visit.page
        cell(page, 0).click()
        page.keyboard.press("ArrowRight")
        assert page.locator("#detail-h").inner_text() == thousand_cells()[10]["cell"]
        assert page.locator('[aria-current="true"]').get_attribute("data-cell") == "10"
        page.keyboard.press("Tab")
        page.get_by_role("button", name="Close").click()
        assert page.evaluate(FOCUSED) == "10"


def test_without_scripts_every_cell_is_still_a_link(chromium, thousand):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(thousand.as_uri())
    assert not page.locator("#filters").is_visible()
    cell(page, 7).click()
    assert page.title() == "report 7"
    context.close()


def test_hostile_names_are_shown_and_do_not_run(chromium, hostile):
    with Visit(chromium, hostile) as visit:
        page = visit.page
        for number in (0, 1):
            cell(page, number).click()
            assert page.locator("#detail-h").inner_text() == " ".join(f"{number}{HOSTILE}".split())
            assert HOSTILE in page.locator("#detail-line").inner_text()
        assert page.locator("#detail-report").is_hidden()
        page.fill("#filter", "<script>")
        assert page.evaluate(SHOWN) == 2
        assert page.title() == f"kvreplay matrix: {HOSTILE}"
        assert page.locator("img").count() == 0
        assert visit.requests == [hostile.as_uri()]
        assert visit.problems == []


@pytest.mark.parametrize(
    ("name", "width"), [("thousand", 360), ("hostile", 360), ("hostile", 320), ("hostile", 768)]
)
def test_it_never_scrolls_sideways(chromium, request, name, width):
    with Visit(chromium, request.getfixturevalue(name), width=width) as visit:
        page = visit.page
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for step in (lambda: None, lambda: cell(page, 1).click()):
            step()
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_the_details_leave_the_cell_and_its_headings_in_sight(chromium, thousand):
    with Visit(chromium, thousand, width=360) as visit:
        page = visit.page

        def assert_in_sight(number):
            place = cell(page, number).bounding_box()
            headings = page.locator("#grid thead").bounding_box()
            details = page.locator("#detail").bounding_box()
            # A pixel for rounding.
            assert headings["y"] >= -1
            assert headings["y"] + headings["height"] <= place["y"] + 1
            assert place["y"] + place["height"] <= details["y"] + 1

        # Seeds are rows: a cell low on the screen, where the details come up.
        cell(page, 9).scroll_into_view_if_needed()
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        cell(page, 9).click()
        assert_in_sight(9)
        for _ in range(30):
            page.keyboard.press("ArrowDown")
        assert_in_sight(int(page.evaluate(FOCUSED)))
        for _ in range(30):
            page.keyboard.press("ArrowUp")
        assert_in_sight(int(page.evaluate(FOCUSED)))


def test_unexpected_cells_differ_by_more_than_colour(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        page = visit.page
        assert cell(page, 122).inner_text() == "P"
        assert cell(page, 123).inner_text() == "\N{BALLOT X}P"
        assert cell(page, 123).get_attribute("aria-label") == "persistent, failed"


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("thousand", 1280, "light"), ("thousand", 360, "dark"), ("hostile", 1280, "dark")],
)
def test_everybody_can_read_it(chromium, request, name, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with Visit(chromium, request.getfixturevalue(name), width=width, scheme=scheme) as visit:
        page = visit.page
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        cell(page, 1).click()
        if name == "thousand":
            page.get_by_role("group", name="By verdict").get_by_text("persistent").click()
        found = Axe().run(page).response["violations"]
        assert [
            (each["id"], [node["html"][:160] for node in each["nodes"][:3]]) for each in found
        ] == []


def test_print_shows_all_cells_and_no_controls(chromium, thousand):
    with Visit(chromium, thousand) as visit:
        page = visit.page
        page.emulate_media(media="print")
        assert not page.locator("#filters").is_visible()
        assert not page.get_by_role("button").first.is_visible()
        grid = page.locator(".grid .scroll")
        assert grid.evaluate("each => each.scrollHeight <= each.clientHeight + 1")


def test_what_differs_from_expectation_is_told_before_anything_else(chromium, thousand):
    assert thousand.stat().st_size < 3_000_000
    with Visit(chromium, thousand) as visit:
        listed = visit.page.locator(".differing li")
        assert listed.count() == 6
        assert "crashed" in listed.first.inner_text()
        assert "expected verdict = clean" in listed.first.inner_text()
        assert listed.first.bounding_box()["y"] < 800
        assert listed.last.bounding_box()["y"] < visit.page.locator("#grid").bounding_box()["y"]
        assert listed.first.get_by_role("link").get_attribute("href").startswith("cells/")
