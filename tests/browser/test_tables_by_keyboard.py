"""Tables in a real browser: sorted and filtered by keys alone, plain without a script, cards on a phone."""

import pytest
from visits import Visit

from replay.cli import run_command_line
from reports.page import write_report
from reports.parts.tables import part as tables

pytestmark = pytest.mark.browser

#: What the cells of a column of the episodes table say, in the order of the rows that are shown.
CELLS = """([frame, column]) => [...frame.querySelectorAll("tbody tr:not([hidden])")].map(
  row => row.cells[column].textContent.trim())"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A page on two recordings; in the first some gaps closed and some did not."""
    root = tmp_path_factory.mktemp("tables")
    trace = str(root / "trace.parquet")
    run_command_line(["trace", "synth", "-o", trace, "--requests", "120", "--rate", "4"])
    command = ["run", trace, "--profile", "sglang-0.4.6.post4", "--seed", "7", "--device", "cpu"]
    run_command_line(
        [*command, "--drop", "0.05", "--delay", "0.1:900", "--out", str(root / "lost")]
    )
    run_command_line([*command, "--out", str(root / "calm")])
    write_report([root / "lost", root / "calm"], root / "page.html", charts=False)
    return root / "page.html"


def episodes(page):
    return page.locator(f".data-table:has([aria-label='{tables.EPISODES}'])")


def column(page, title):
    frame = episodes(page)
    titles = [words.strip() for words in frame.locator("th").all_inner_texts()]
    return page.evaluate(CELLS, [frame.element_handle(), titles.index(title)])


def numbers(texts):
    return [float(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) for text in texts]


def test_a_column_is_sorted_by_keys_alone_and_numbers_as_numbers(chromium, drawn):
    with Visit(chromium, drawn) as visit:
        page, frame = visit.page, episodes(visit.page)
        before = column(page, "widest gap, tokens")
        assert len(before) > 5 and any("," in each for each in before)
        assert any("," not in each for each in before)
        frame.get_by_label("Filter").focus()
        for _ in range(20):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "[document.activeElement.tagName, document.activeElement.textContent]"
            )
            if focused[0] == "BUTTON" and "widest gap" in focused[1]:
                break
        heading = frame.locator("th", has_text="widest gap")
        assert heading.get_attribute("aria-sort") == "none"
        for key, state, expected in (
            ("Enter", "ascending", sorted(numbers(before))),
            ("Space", "descending", sorted(numbers(before), reverse=True)),
            ("Enter", "none", numbers(before)),
        ):
            page.keyboard.press(key)
            assert heading.get_attribute("aria-sort") == state
            assert numbers(column(page, "widest gap, tokens")) == expected
        assert visit.problems == []


def test_what_says_nothing_comes_last_either_way(chromium, drawn):
    with Visit(chromium, drawn) as visit:
        button = episodes(visit.page).get_by_role("button", name="closed, s")
        for _ in range(2):
            button.click()
            closed = column(visit.page, "closed, s")
            empty = [each == "\N{EM DASH}" for each in closed]
            assert any(empty) and empty == sorted(empty)


def test_one_column_at_a_time_is_sorted_and_tables_do_not_disturb_each_other(chromium, drawn):
    with Visit(chromium, drawn) as visit:
        frame = episodes(visit.page)
        frame.get_by_role("button", name="pool").click()
        frame.get_by_role("button", name="requests").click()
        sorted_ones = visit.page.locator("[aria-sort=ascending]")
        assert sorted_ones.count() == 1
        assert sorted_ones.inner_text().strip() == "requests"


def test_the_filter_takes_words_of_any_column_and_says_how_many_are_left(chromium, drawn):
    with Visit(chromium, drawn) as visit:
        page, frame = visit.page, episodes(visit.page)
        ends = column(page, "end")
        frame.get_by_label("Filter").focus()
        page.keyboard.type("NEVER  closed")
        assert column(page, "end") == ["never closed"] * ends.count("never closed")
        assert 0 < ends.count("never closed") < len(ends)
        said = f"showing {ends.count('never closed')} of {len(ends)}"
        assert frame.get_by_role("status").inner_text() == said
        frame.get_by_role("button", name="pages", exact=True).click()
        assert len(column(page, "end")) == ends.count("never closed"), "sorting keeps the filter"
        frame.get_by_label("Filter").fill("nothing has this")
        assert frame.get_by_role("status").inner_text() == f"showing 0 of {len(ends)}"
        frame.get_by_label("Filter").fill("")
        assert len(column(page, "end")) == len(ends)


def test_a_table_that_was_cut_says_what_is_searched(chromium, drawn, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "ROWS_MAX", 3)
    write_report([drawn.parent / "lost"], tmp_path / "cut.html", charts=False)
    with Visit(chromium, tmp_path / "cut.html") as visit:
        frame = episodes(visit.page)
        of = int(frame.get_attribute("data-of"))
        assert of > 3
        assert (
            frame.get_by_role("status").inner_text() == f"the filter searches the 3 shown of {of}"
        )
        frame.get_by_label("Filter").fill("decode0")
        assert frame.get_by_role("status").inner_text() == f"showing 3 of the 3 shown of {of}"


def test_without_a_script_it_is_the_plain_table(chromium, drawn):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(drawn.as_uri())
    assert page.locator(".data-table button").count() == 0
    assert not page.locator(".table-tools").first.is_visible()
    assert len(column(page, "end")) > 5
    context.close()


def test_nothing_jumps_when_the_script_has_run(chromium, drawn):
    """Where the tables stand does not depend on whether the script has come to them yet."""

    def places(page):
        return page.evaluate("""[...document.querySelectorAll(".data-table table, .data-table th")]
            .map(each => each.getBoundingClientRect())
            .map(box => [box.x, box.y + scrollY, box.width, box.height].map(Math.round))""")

    with Visit(chromium, drawn) as visit:
        after = places(visit.page)
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        text = drawn.read_text()
        start = text.rindex("<script>")
        still = drawn.with_name("still.html")
        # A page whose script has not come yet: scripting is on.
        still.write_text(text[:start] + "</body></html>")
        page.goto(still.as_uri())
        # The button that chooses a theme, and those that copy, are not of the tables.
        page.evaluate("document.querySelectorAll('button').forEach(each => each.hidden = false)")
        assert places(page) == after
        context.close()


def test_on_a_phone_rows_are_cards_that_can_be_sorted(chromium, drawn):
    with Visit(chromium, drawn, width=360) as visit:
        page, frame = visit.page, episodes(visit.page)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        # No table but a chart's is wider than its region.
        wide = page.evaluate(
            "[...document.querySelectorAll('.cards .scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert wide == 0
        label = frame.locator("td").first.evaluate("e => getComputedStyle(e, '::before').content")
        assert label == '"episode"'
        before = numbers(column_on_phone(page, 4))
        frame.get_by_label("Sort by").select_option("widest gap, tokens, descending")
        assert numbers(column_on_phone(page, 4)) == sorted(before, reverse=True)


def column_on_phone(page, place):
    return page.evaluate(CELLS, [episodes(page).element_handle(), place])


def test_a_phone_still_tells_a_screen_reader_of_rows_and_cells(chromium, drawn):
    with Visit(chromium, drawn, width=360) as visit:
        session = visit.context.new_cdp_session(visit.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
        assert roles.count("row") > 10 and roles.count("cell") > 50


def test_print_keeps_headings_and_drops_the_tools(chromium, drawn):
    with Visit(chromium, drawn) as visit:
        page, frame = visit.page, episodes(visit.page)
        frame.get_by_label("Filter").fill("never closed")
        page.emulate_media(media="print")
        assert frame.get_by_text("widest gap, tokens", exact=True).first.is_visible()
        assert not frame.get_by_label("Filter").is_visible()
        assert frame.get_by_role("status").is_visible(), "what is left out is said on paper too"
