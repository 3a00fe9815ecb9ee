"""What a page costs to make and to open, short runs against long ones; prints a table.

    python tests/reports/measure_reports.py

Nothing here is a test: docs/benchmarks.md has what it printed, and on what.
"""

# ruff: noqa: E402

import contextlib
import io
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Folders under tests/ are called like the packages; the packages come first.
sys.path[:0] = [str(ROOT)]
sys.path.append(str(ROOT / "tests" / "helpers"))

from million_audits import make_long_recording
from playwright.sync_api import sync_playwright

from replay.cli import run_command_line
from replay.recording.reader import Recording
from reports.page import write_report

#: When the verdict, the equation and the copy button were there, in milliseconds since the start.
COMPLETE = """() => new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"""


def made(root):
    """Recordings by their number of audits."""
    trace = str(root / "trace.parquet")
    run_command_line(
        ["trace", "synth", "-o", trace, "--requests", "200", "--rate", "20", "--seed", "1"]
    )
    for name, faults in {"late": ["--delay", "0.05:2000"], "lost": ["--drop", "0.05"]}.items():
        run_command_line(
            [
                "run",
                trace,
                "--profile",
                "sglang-0.4.6.post4",
                "--seed",
                "7",
                "--device",
                "cpu",
                *faults,
                "--out",
                str(root / name),
            ]
        )
    yield root / "lost"
    for audits in (10_000, 100_000, 1_000_000):
        yield make_long_recording(root / "late", root / f"{audits}", audits, root / "lost")


def timed(make):
    started = time.process_time()
    make()
    return time.process_time() - started


def opened_ms(browser, page):
    """The quickest of three visits."""
    found = []
    for _ in range(3):
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(page.as_uri(), wait_until="commit")
        found.append(tab.evaluate(COMPLETE))
        tab.close()
    return min(found)


def main():
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        root = Path(directory)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        rows = []
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            recordings = list(made(root))
            write_report([recordings[0]], root / "warm.html")
            for recording in recordings:
                page, light = root / f"{recording.name}.html", root / f"{recording.name}-light.html"
                full_s = timed(lambda to=page, of=recording: write_report([of], to))
                light_s = timed(lambda to=light, of=recording: write_report([of], to, charts=False))
                audits = Recording.open(recording).summary()["audits"]
                size = page.stat().st_size
                rows.append((audits, size, full_s, light_s, opened_ms(browser, page)))
        first = rows[0]
        print("| audits | page, kB | CPU to make | of that without charts | first screen |")
        print("|---|---|---|---|---|")
        for audits, size, full_s, light_s, first_ms in rows:
            print(
                f"| {audits:,} | {size / 1e3:,.0f} | {full_s / first[2]:.2f} | {light_s / full_s:.2f} "
                f"| {first_ms / first[4]:.2f} |"
            )
        print(f"\nThe first row took {first[2]:.2f} s of CPU and opened in {first[4]:.0f} ms.")


if __name__ == "__main__":
    main()
