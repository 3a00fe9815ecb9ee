"""Makes the example beside this file: the report of the demo's lost completions, and its picture.

    make example

The page is what `kvreplay report` makes of the recording `dropped` of `kvreplay demo`; the picture is
its first screen in headless Chromium.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from replay.cli import run_command_line

HERE = Path(__file__).resolve().parent
RECORDING = "demo-out/dropped"
WIDTH, HEIGHT = 1200, 900


def main() -> int:
    """Make both files; the exit code."""
    program = shutil.which("chromium")
    if program is None:
        print("no program called chromium; install it (apt-get install chromium)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        # The page names the recording as it was given: relative, so that it says nothing of this machine.
        for line in (
            ["demo", "--out", "demo-out", "--device", "cpu"],
            ["report", RECORDING, "-o", "report.html"],
        ):
            if code := run_command_line(line):
                return code
        shutil.copyfile("report.html", HERE / "report.html")
    take_picture(program, HERE / "report.html", HERE / "report.png")
    return 0


def take_picture(program: str, page: Path, picture: Path) -> None:
    """The first screen of a page as PNG, with every request to a network refused."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.route(lambda url: not url.startswith("file://"), lambda route: route.abort())
        tab.goto(page.as_uri())
        tab.wait_for_load_state("networkidle")
        tab.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
