"""A run of 1,000,000 audits opens at once: its first screen takes two seconds of CPU at most, in 5 MB.

CPU time, as the cores may be busy with something else; on an idle machine it takes no more than that.
"""

import pytest
from million_audits import make_long_recording
from visits import PROFILE, Visit

from replay.cli import run_command_line
from replay.recording.reader import Recording
from reports.page import write_report

pytestmark = pytest.mark.browser

BYTES_MAX = 5_000_000
FIRST_SCREEN_CPU_MS_MAX = 2_000

#: Whether the verdict, the equation and the copy button have been laid out by the second frame.
COMPLETE = """() => new Promise(done => requestAnimationFrame(() => setTimeout(() => {
  const [button] = document.querySelectorAll('button[data-copy]');
  const boxes = ['.badge', '.equation', '.answers'].map(each => document.querySelector(each));
  done(!button.hidden && boxes.every(each => each.getBoundingClientRect().height > 0));
})))"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("million")
    trace = str(root / "trace.parquet")
    synth = ["trace", "synth", "-o", trace, "--requests", "200", "--rate", "20", "--seed", "1"]
    assert run_command_line(synth) == 0
    for name, faults in {"late": ["--delay", "0.05:2000"], "lost": ["--drop", "0.05"]}.items():
        run_command_line(["run", trace, *PROFILE, *faults, "--out", str(root / name)])
    make_long_recording(root / "late", root / "long", 1_000_000, root / "lost")
    write_report([root / "long"], root / "long.html")
    return root


def test_its_first_screen_is_complete_within_two_seconds_of_cpu_time(chromium, made):
    assert Recording.open(made / "long").summary()["audits"] >= 1_000_000
    assert (made / "long.html").stat().st_size <= BYTES_MAX
    took_ms = []
    # A machine may be busy once.
    for _ in range(3):
        with Visit(chromium, made / "long.html", is_fresh=True) as visit:
            assert visit.page.evaluate(COMPLETE)
            took_ms.append(visit.cpu_ms())
            assert visit.page.locator(".badge").first.bounding_box()["y"] < 800
            assert visit.problems == []
    assert 0 < min(took_ms) <= FIRST_SCREEN_CPU_MS_MAX


def test_what_is_cut_says_so_and_zooming_stays_quick(chromium, made):
    with Visit(chromium, made / "long.html") as visit:
        page = visit.page
        assert "showing 200 of" in page.locator("main").inner_text()
        page.locator(".timeline").first.scroll_into_view_if_needed()
        page.wait_for_selector(".chart.live svg")
        chart = page.locator(".chart.live").first
        chart.focus()
        started_ms = visit.cpu_ms()
        for key in ("+", "+", "ArrowRight", "]", "0"):
            page.keyboard.press(key)
        assert visit.cpu_ms() - started_ms < 2_500
