"""The report in a real browser: it loads nothing, fits a phone, and can be read by everybody."""

import json

import pytest
from visits import PROFILE, Visit

from replay.cli import run_command_line
from replay.recording.reader import Recording
from reports.page import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page on three recordings and a page on the first of them."""
    root = tmp_path_factory.mktemp("pages")
    trace = str(root / "trace.parquet")
    assert (
        run_command_line(
            ["trace", "synth", "-o", trace, "--requests", "60", "--rate", "4", "--seed", "1"]
        )
        == 0
    )
    for name, faults in {
        "lost": ["--drop", "0.1"],
        "late": ["--delay", "0.1:2000"],
        "calm": [],
    }.items():
        run_command_line(["run", trace, *PROFILE, *faults, "--out", str(root / name)])
    write_report([root / "lost"], root / "one.html")
    write_report([root / "lost", root / "late", root / "calm"], root / "three.html")
    return root


@pytest.mark.parametrize("name", ["one.html", "three.html"])
def test_it_loads_nothing_and_complains_of_nothing(chromium, made, name):
    with Visit(chromium, made / name) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.requests == [(made / name).as_uri()]
        assert visit.problems == []


def test_verdict_equation_and_chart_are_in_sight(chromium, made):
    mismatch = Recording.open(made / "lost").summary()["mismatch"]
    with Visit(chromium, made / "one.html") as visit:
        page = visit.page
        verdict = page.get_by_text("PERSISTENT")
        assert verdict.is_visible()
        assert verdict.bounding_box()["y"] < 800
        equation = page.get_by_role("group", name="The broken equation")
        assert equation.bounding_box()["y"] < 800
        words = equation.inner_text()
        assert f"{mismatch['gap']:,} tokens" in words
        assert f"{mismatch['pages']:,} pages \N{MULTIPLICATION SIGN} 64" in words
        chart = page.locator(".timeline .chart svg:visible").first
        assert chart.bounding_box()["width"] > 700
        assert not page.locator(".timeline .chart.narrow").first.is_visible()


def test_the_copy_button_works_without_a_network(chromium, made):
    line = json.loads((made / "lost" / "run.json").read_text())["reproduce"]
    with Visit(chromium, made / "one.html") as visit:
        button = visit.page.get_by_role("button", name="Copy the command that reproduces")
        assert button.is_visible()
        button.click()
        visit.page.get_by_text("Copied").wait_for()
        visit.page.evaluate("document.querySelector('.first').append(document.createElement('p'))")
        visit.page.evaluate(
            "document.querySelector('.first').insertAdjacentHTML('beforeend', '<textarea>')"
        )
        visit.page.locator("textarea").focus()
        visit.page.keyboard.press("Control+V")
        assert visit.page.locator("textarea").input_value().strip() == line


@pytest.mark.parametrize("width", [320, 360, 768])
def test_it_never_scrolls_sideways(chromium, made, width):
    with Visit(chromium, made / "three.html", width=width) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = visit.page.evaluate(
            """width => [...document.querySelectorAll('body *')].filter(each =>
                 !each.closest('.scroll') && !each.closest('svg') && !each.matches('.skip')
                 && each.getBoundingClientRect().right > width + 1).map(each => each.outerHTML)""",
            width,
        )
        assert beyond == []


def test_a_phone_gets_charts_drawn_for_it(chromium, made):
    with Visit(chromium, made / "one.html", width=360) as visit:
        assert not visit.page.locator(".chart.wide").first.is_visible()
        narrow = visit.page.locator(".chart.narrow svg").first
        box = narrow.bounding_box()
        drawn = float(narrow.get_attribute("width"))
        assert 0.9 * drawn <= box["width"] <= drawn


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("three.html", 1280, "light"), ("one.html", 360, "dark")],
)
def test_everybody_can_read_it(chromium, made, name, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with Visit(chromium, made / name, width=width, scheme=scheme) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        # What is drawn in a chart is an image to everybody; its label and table are looked at.
        around_charts = {"exclude": [[".chart svg"]]}
        found = Axe().run(visit.page, context=around_charts).response["violations"]
        grave = [
            (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert grave == []


def test_the_charts_follow_the_colour_scheme(chromium, made):
    def ink(scheme):
        with Visit(chromium, made / "one.html", scheme=scheme) as visit:
            return visit.page.evaluate(
                "getComputedStyle(document.querySelector('.chart.wide svg text')).fill"
            )

    assert ink("light") != ink("dark")


def test_copy_and_theme_work_by_keyboard(chromium, made):
    background = "getComputedStyle(document.body).backgroundColor"
    with Visit(chromium, made / "one.html", scheme="light") as visit:
        page = visit.page
        light = page.evaluate(background)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "theme"
        seen = []
        for _ in range(3):
            page.keyboard.press("Enter")
            seen.append((page.locator("#theme").inner_text(), page.evaluate(background) == light))
        assert seen == [("Theme: light", True), ("Theme: dark", False), ("Theme: system", True)]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.dataset.copy") == "r1-line"
        page.keyboard.press("Enter")
        page.get_by_text("Copied").wait_for()


def test_a_dark_system_shows_no_light_page_first(chromium, made):
    """What is dark is a style sheet of the page, so that it is there before anything is drawn."""
    context = chromium.new_context(color_scheme="dark", java_script_enabled=False)
    page = context.new_page()
    page.goto((made / "one.html").as_uri())
    assert page.evaluate("matchMedia(document.getElementById('dark').media).matches") is True
    assert page.locator("#theme").is_visible() is False
    context.close()


def test_every_part_is_linked_to_and_there(chromium, made):
    with Visit(chromium, made / "one.html") as visit:
        links = visit.page.locator("nav.contents a").all()
        assert len(links) >= 9
        for link in links:
            target = link.get_attribute("href")
            assert visit.page.locator(f"[id='{target[1:]}']").count() == 1
