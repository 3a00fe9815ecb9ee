"""A report without charts: the same page, made at a fraction of the cost."""

import re
import subprocess
import sys
import time

import pytest

from reports.page import render_report, write_report


def without_charts(page):
    """What a page says, with every chart cut out, and what is checked of them."""
    page = re.search(r"<main.*</main>", page, re.S)[0]
    page = page.replace('<a href="#r1-timeline">Timeline</a>\n', "")
    page = re.sub(r'<section class="card timeline".*?</section>\n', "", page, flags=re.S)
    page = re.sub(
        r"<li class=\"pass\">(?:(?!</li>).)*(?:timeline|fault marks).*?</li>\n",
        "",
        page,
        flags=re.S,
    )
    # A page without charts draws the lanes of fewer requests, which are checked and linked to.
    page = re.sub(r'<section class="card lanes"[^>]*>.*?</section>\n', "", page, flags=re.S)
    page = re.sub(r'<li class="pass">[^\n]*\n<span>[^\n]*in the lanes[^\n]*</li>\n', "", page)
    page = re.sub(r'<a href="#r1-lanes-\d+">(.*?)</a>', r"\1", page)
    page = re.sub(r"All \d+ checks", "All checks", page)
    return re.sub(r'<p class="soft">The charts are left out[^\n]*\n', "", page)


@pytest.mark.slow
def test_it_is_the_same_page_without_its_charts(recordings):
    for name, directory in recordings.items():
        light, full = (render_report([directory], charts=charts) for charts in (False, True))
        assert "data-chart" not in light
        assert "data-chart" in full, name
        assert without_charts(light) == without_charts(full)


@pytest.mark.slow
def test_it_says_how_to_draw_them(recordings, tmp_path):
    odd = tmp_path / "odd name"
    odd.symlink_to(recordings["leak"])
    assert f"<code>kvreplay report &#39;{odd}&#39;</code>" in render_report([odd], charts=False)
    assert "charts are left out" in render_report([recordings["clean"]], charts=False)
    assert "charts are left out" not in render_report([recordings["leak"]])


@pytest.mark.slow
def test_it_needs_no_library_that_draws(recordings, tmp_path):
    program = (
        "import sys; from pathlib import Path; from reports.page import write_report; "
        "write_report([Path(sys.argv[1])], Path(sys.argv[2]), charts=False); "
        "print(sorted({'vl_convert', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(recordings["leak"]), str(tmp_path / "page.html")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["clean", "leak", "over-free"])
def test_it_is_cheap(recordings, tmp_path, name):
    """Well under a tenth of a second on an idle machine; the bound allows for a busy one."""
    spent = []
    for _ in range(4):
        start = time.process_time()
        write_report([recordings[name]], tmp_path / "page.html", charts=False)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.3
