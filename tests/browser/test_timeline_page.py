"""The live timeline: zoomed by keys and buttons, all charts together, under the page's own policy."""

import re

import pytest
from million_audits import make_long_recording
from visits import PROFILE, Visit
from waiting import wait_until

from replay.cli import run_command_line
from reports.page import write_report

pytestmark = pytest.mark.browser

#: The labels of the time axis of each live chart's last panel, and how the page is policed.
TIMES = """() => [...document.querySelectorAll('.chart.live')].map(box =>
  [...box.querySelectorAll('text')].map(each => each.textContent).filter(each => / s$/.test(each)))"""
#: All that was to be done at once is done.
IDLE = "new Promise(done => requestIdleCallback(done))"
POLICY = "document.querySelector('meta[http-equiv=Content-Security-Policy]').content"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page on a replay with several pools in a gap, and one that is 30,000 audits long."""
    root = tmp_path_factory.mktemp("timeline")
    trace = str(root / "trace.parquet")
    run_command_line(["trace", "synth", "-o", trace, "--requests", "60", "--rate", "4"])
    for name, faults in {"late": "--delay 0.1:2000", "lost": "--drop 0.1"}.items():
        run_command_line(["run", trace, *PROFILE, *faults.split(), "--out", str(root / name)])
    write_report([root / "lost"], root / "lost.html")
    make_long_recording(root / "late", root / "long", 30_000, root / "lost")
    write_report([root / "long"], root / "long.html")
    return root


class Timeline(Visit):
    """A page whose charts have come to life, the first of them with the focus."""

    def __enter__(self):
        self.page.locator(".timeline").first.scroll_into_view_if_needed()
        self.page.wait_for_selector(".chart.live svg")
        self.chart = self.page.locator(".chart.live").first
        self.chart.focus()
        return self

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
        # Two frames: changes are drawn once a frame, and both charts with them.
        self.page.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        return self.shown

    @property
    def shown(self):
        return self.page.locator(".shown").first.inner_text()

    @property
    def window(self):
        """The stretch shown, in seconds."""
        ends = re.search(r"Shown: ([\d,.]+) s to ([\d,.]+) s", self.shown).groups()
        return tuple(float(end.replace(",", "")) for end in ends)


def test_keys_zoom_all_charts_together_and_0_resets(chromium, made):
    with Timeline(chromium, made / "lost.html") as visit:
        whole, before = visit.shown, visit.page.evaluate(TIMES)
        assert "the whole replay" in whole
        assert len(before) == 2 and before[0][-3:] == before[1][-3:]
        visit.press("+", "+", "ArrowRight")
        start, end = visit.window
        zoomed = visit.page.evaluate(TIMES)
        assert zoomed[0] != before[0] and zoomed[1] != before[1]
        assert zoomed[0][-3:] == zoomed[1][-3:]
        visit.press("ArrowLeft")
        assert visit.window[0] < start
        visit.press("-")
        assert visit.window[1] - visit.window[0] > 1.9 * (end - start)
        assert visit.press("0") == whole
        assert visit.page.evaluate(TIMES) == before
        assert visit.problems == []
        assert visit.requests == [(made / "lost.html").as_uri()]


def test_brackets_go_from_episode_to_episode(chromium, made):
    with Timeline(chromium, made / "long.html") as visit:
        first, second = visit.press("]"), visit.press("]")
        assert first.startswith("Episode 1 of ") and second.startswith("Episode 2 of ")
        opened = float(re.search(r"opened at ([\d,.]+) s", second)[1].replace(",", ""))
        assert visit.window[0] <= opened <= visit.window[1]
        assert visit.press("[").startswith("Episode 1 of ")


def test_buttons_do_what_the_keys_do(chromium, made):
    with Timeline(chromium, made / "lost.html") as visit:
        by_key = {key: visit.press("0", "+", "+", key) for key in ("+", "-", "ArrowLeft", "]", "[")}
        names = {
            "+": "Zoom in",
            "-": "Zoom out",
            "ArrowLeft": "Earlier",
            "]": "Next episode",
            "[": "Previous episode",
        }
        for key, name in names.items():
            visit.press("0", "+", "+")
            visit.page.get_by_role("button", name=name, exact=True).click()
            assert visit.press() == by_key[key]
            visit.chart.focus()
        visit.page.get_by_role("button", name="Whole").click()
        assert "the whole replay" in visit.press()


def test_a_cursor_reads_the_values_of_the_recording(chromium, made):
    """At the end of the replay every series is at its last value, as the table beneath has it."""
    with Timeline(chromium, made / "lost.html") as visit:
        visit.press("0", *["Shift+ArrowRight"] * 60)
        read = visit.page.locator(".readout").first.inner_text()
        visit.page.evaluate(
            "document.querySelectorAll('details').forEach(each => each.open = true)"
        )
        rows = visit.page.locator(".timeline table").first.locator("tbody tr").all()
        last = [row.locator("td").all_inner_texts() for row in rows]
        all_of_it = [row for row in last if row[0] == "all"]
        assert len(all_of_it) >= 4
        for _, name, _, _, value in all_of_it:
            assert f"{name} {value}" in read


def test_the_mouse_drags_and_the_wheel_leaves_the_page_alone(chromium, made):
    with Timeline(chromium, made / "lost.html") as visit:
        page, box = visit.page, visit.chart.bounding_box()
        middle = box["x"] + box["width"] / 2
        visit.press("+", "+")
        start = visit.window[0]
        page.mouse.move(middle, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(middle - 200, box["y"] + 60, steps=4)
        page.mouse.up()
        visit.press()
        assert visit.window[0] > start
        narrow = visit.window[1] - visit.window[0]
        page.mouse.wheel(0, -200)
        wait_until(lambda: visit.window[1] - visit.window[0] < narrow)
        # Without focus the wheel scrolls the page, over a chart as well.
        page.evaluate("document.activeElement.blur()")
        before, scrolled = visit.window, page.evaluate("scrollY")
        page.mouse.wheel(0, 200)
        wait_until(lambda: page.evaluate("scrollY") > scrolled)
        visit.press()
        assert visit.window == before


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_moves_when_charts_come_to_life(chromium, made, width):
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.add_init_script(
        "new PerformanceObserver(list => { window.shift = (window.shift ?? 0) + "
        "list.getEntries().reduce((sum, each) => sum + each.value, 0); })"
        ".observe({type: 'layout-shift', buffered: true});"
    )
    page.goto((made / "lost.html").as_uri())
    # What the rest of the page does while it loads is not looked at here.
    page.evaluate(IDLE)
    page.evaluate("window.shift = 0")
    tall = page.evaluate("document.documentElement.scrollHeight")
    page.locator(".timeline").first.scroll_into_view_if_needed()
    page.wait_for_selector(".chart.live svg")
    page.evaluate(IDLE)
    assert page.evaluate("window.shift") < 0.01
    assert abs(page.evaluate("document.documentElement.scrollHeight") - tall) <= 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_paper_and_pages_without_scripts_have_the_drawings(chromium, made):
    with Timeline(chromium, made / "lost.html") as visit:
        visit.page.emulate_media(media="print")
        assert not visit.chart.is_visible()
        assert visit.page.locator(".chart.wide svg").first.is_visible()
        assert not visit.page.locator(".tools").first.is_visible()
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((made / "lost.html").as_uri())
    assert page.locator(".chart.wide svg").first.is_visible()
    assert not page.locator(".tools").first.is_visible()
    context.close()


def test_a_closer_look_is_there_where_nothing_can_be_zoomed(chromium, made, tmp_path):
    write_report([made / "late"], tmp_path / "late.html")
    with Timeline(chromium, tmp_path / "late.html") as visit:
        closer = visit.page.locator(".closer")
        if closer.count():
            assert not closer.first.is_visible()
            visit.page.emulate_media(media="print")
            assert closer.first.is_visible()


def test_the_policy_stays_strict(chromium, made):
    with Timeline(chromium, made / "long.html") as visit:
        policy = visit.page.evaluate(POLICY)
        assert "unsafe-eval" not in policy
        assert re.search(r"script-src 'sha256-[^']+'(;|$)", policy)
        visit.press("]", "+", "Shift+ArrowRight", "0")
        assert visit.problems == []
        assert "envelope" in visit.shown or "Full resolution" in visit.shown
