"""Lanes, rules and latency in a real browser: no complaint, no sideways scrolling, a name for each."""

import contextlib

import pytest
from visits import Visit

from replay.cli import run_command_line
from reports.page import write_report

pytestmark = pytest.mark.browser

PLAN = """
[[rule]]
name = "lost <b>one</b>"
fault = "drop"
occurrences = [5, 11]
[[rule]]
name = "twice"
fault = "duplicate"
direction = "prefill"
probability = 0.3
[[rule]]
name = "{long}"
fault = "drop"
request_ids = ["nobody"]
"""


@pytest.fixture(scope="module")
def parts_page(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    trace, plan = root / "trace.parquet", root / "plan.toml"
    plan.write_text(PLAN.replace("{long}", "q" * 10_000))
    run_command_line(["trace", "synth", "-o", str(trace), "--requests", "40", "--rate", "4", "--seed", "1"])  # fmt: skip
    profile = ["--profile", "sglang-0.4.6.post4", "--device", "cpu"]
    run_command_line(
        ["run", str(trace), *profile, "--plan", str(plan), "--out", str(root / "lost")]
    )
    write_report([root / "lost"], root / "page.html", charts=False)
    return root / "page.html"


@pytest.fixture
def visit(chromium, parts_page):
    """Open the page with all that can be opened; gives a function of width and colour scheme."""
    with contextlib.ExitStack() as open_visits:

        def open_page(width=1280, scheme="light"):
            visit = open_visits.enter_context(Visit(chromium, parts_page, width, scheme))
            visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            return visit

        yield open_page


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(visit, width):
    opened = visit(width)
    page = opened.page
    assert opened.problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (".lane-picture svg", ".rules", ".curve-legend"):
        assert page.locator(part).first.is_visible()
    # No word of a picture leaves it, and in a bar none leaves the bar.
    outside = page.evaluate(
        """() => [...document.querySelectorAll('.lane-picture svg')].flatMap(svg => {
             const all = svg.getBoundingClientRect();
             return [...svg.querySelectorAll('text')].filter(text => {
               const box = text.getBoundingClientRect();
               return box.left < all.left - 1 || box.right > all.right + 1
                 || box.top < all.top - 1 || box.bottom > all.bottom + 1;
             }).map(text => text.textContent);
           })"""
    )
    assert outside == []


def test_words_in_a_picture_of_lanes_do_not_cover_each_other(visit):
    page = visit(1280).page
    covered = page.evaluate(
        """() => [...document.querySelectorAll('.lane-picture svg')].flatMap(svg => {
             const boxes = [...svg.querySelectorAll('text')].map(
               text => [text.textContent, text.getBoundingClientRect()]);
             return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([, q]) =>
               p.left < q.right - 2 && q.left < p.right - 2
               && p.top < q.bottom - 5 && q.top < p.bottom - 5).map(([b]) => a + ' / ' + b));
           })"""
    )
    assert covered == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_have_names_and_their_words_can_be_read(visit, scheme):
    page = visit(360, scheme).page
    for image in page.locator(".lane-picture").all():
        assert image.get_attribute("aria-label").startswith("Swim lanes of request ")
    pale = page.evaluate(
        """() => {
             const channel = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
             const light = css => {
               const canvas = document.createElement('canvas').getContext('2d');
               canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
               const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
               return .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
             };
             const found = new Set();
             for (const text of document.querySelectorAll('.lane-picture text')) {
               const box = text.getBoundingClientRect();
               const bar = [...text.closest('svg').querySelectorAll('.bar')].find(each => {
                 const b = each.getBoundingClientRect();
                 return b.left <= box.left && box.left < b.right && b.top <= box.top + 2 && box.bottom - 2 <= b.bottom;
               });
               const ground = bar ? getComputedStyle(bar).fill
                 : getComputedStyle(document.querySelector('.card')).backgroundColor;
               const [a, b] = [light(getComputedStyle(text).fill), light(ground)].sort((x, y) => y - x);
               const ratio = (a + .05) / (b + .05);
               if (ratio < 4.5) found.add(text.textContent + ' ' + ratio.toFixed(2));
             }
             return [...found];
           }"""
    )
    assert pale == []


def test_a_rule_leads_to_the_lanes_of_its_request_by_keyboard(visit):
    page = visit(1280).page
    link = page.locator('.rules a[href^="#r1-lanes-"]').first
    link.focus()
    page.keyboard.press("Enter")
    target = page.evaluate("document.querySelector(':target').id")
    assert target.startswith("r1-lanes-")
    assert page.locator(f"#{target}").is_visible()


def test_axe_finds_nothing_grave(visit):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(360, "dark").page
    found = Axe().run(page, context={"exclude": [["svg"]]}).response["violations"]
    grave = [(each["id"], [node["html"][:120] for node in each["nodes"][:3]])
             for each in found if each["impact"] in ("serious", "critical")]  # fmt: skip
    assert grave == []
