"""Cells that pytest runs: their outcomes, what a failed one says, and what is kept of them."""

import json
import os
import shlex
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from plugin_helpers import FALSIFIED_LINE, MATRIX, temporary
from waiting import HANGS_S, wait_until


@pytest.fixture
def failed(matrix_folder):
    """A run in which one cell fails, with its JUnit XML: (folder, outcome)."""
    return matrix_folder, matrix_folder.pytest("--junitxml", "j.xml", "--kvmatrix-out", "kept")


@pytest.mark.slow
def test_a_failed_cell_says_all_and_its_line_repeats_it(failed):
    folder, outcome = failed
    assert (outcome.code, outcome.counts) == (1, {"failed": 1, "passed": 3})
    report = outcome.text.partition("= FAILURES =")[2].partition("- generated xml")[0]
    assert "failed: persistent where clean was expected: " in report
    assert "  verdict: persistent\n" in report
    assert f"  expected: clean (faults.kvmatrix.toml:{FALSIFIED_LINE})\n" in report
    assert " + evictable 0 + protected 0 = " in report
    assert "memory leak detected!" in report
    assert "Traceback" not in report
    assert ".py" not in report

    document = ET.parse(folder.path / "j.xml")
    cases = {case.get("name"): case for case in document.iter("testcase")}
    (bad,) = (case for case in cases.values() if case.find("failure") is not None)
    assert bad.find("failure").get("message").startswith("failed: persistent where clean")
    properties = {each.get("name"): each.get("value") for each in bad.iter("property")}
    assert (properties["outcome"], properties["verdict"]) == ("failed", "persistent")
    assert f"  reproduce: {properties['reproduce']}\n" in report

    words = shlex.split(properties["reproduce"])[1:]
    program = "import sys; from replay.cli import main; sys.argv[1:1] = []; main()"
    again = subprocess.run(
        [sys.executable, "-c", program, *words, "--json"],
        cwd=folder.path,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    summary = json.loads(again.stdout)
    assert summary["verdict"] == "persistent"
    assert summary["recording_sha256"] == properties["recording_sha256"]

    for case in cases.values():
        kept = {each.get("name"): each.get("value") for each in case.iter("property")}
        assert Path(kept["recording"]).parent == folder.path / "kept" / "faults" / "cells"
        assert (Path(kept["recording"]) / "run.json").is_file()
        assert Path(kept["report"]).read_text(encoding="utf-8").startswith("<!")


@pytest.mark.slow
def test_workers_of_xdist_share_the_traces_and_find_the_same(matrix_folder):
    outcome = matrix_folder.pytest("-n", "2", "--dist", "load", "-v")
    assert outcome.counts == {"failed": 1, "passed": 3}, outcome.text
    assert "[gw0]" in outcome.text
    assert "[gw1]" in outcome.text
    assert f"expected: clean (faults.kvmatrix.toml:{FALSIFIED_LINE})" in outcome.text
    assert ".py:" not in outcome.text.partition("= FAILURES =")[2]
    root = temporary(matrix_folder)
    assert len(list(root.rglob("*.parquet"))) > 4
    assert len([path for path in root.rglob("*.parquet") if "kvmatrix-traces" in path.parts]) == 1
    assert len(list(root.glob("popen-gw*/kvmatrix/faults/cells/*/run.json"))) == 4


#: In the place of what runs a cell: one that hangs, one that dies, and all others as ever.
ODD_TASK = """
import os
import signal
import time

from replay.matrix.run_one import run_message


def run(draw_page, message):
    trace = message["options"]["trace"]
    if trace.startswith("hangs"):
        time.sleep(600)
    if trace.startswith("dies"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if trace.startswith("eats"):
        time.sleep(0.5)
    return run_message(draw_page, message)
"""


@pytest.mark.slow
def test_a_cell_that_tests_nothing_hangs_dies_or_eats_the_memory_fails_and_the_rest_go_on(folder):
    folder.write("odd_task.py", ODD_TASK)
    folder.write(
        "conftest.py",
        "import odd_task\nimport replay.pytest_plugin.cells as session\n\nsession.run_message = odd_task.run\n",
    )
    folder.write("dies.kvmatrix.toml", MATRIX)
    folder.write("eats.kvmatrix.toml", MATRIX + "\n[budget]\nmemory_mb = 5\n")
    folder.write("hangs.kvmatrix.toml", MATRIX + "\n[budget]\ncell_s = 0.5\n")
    folder.write(
        "tests_nothing.kvmatrix.toml",
        MATRIX.replace("probability = 0.3", 'request_ids = ["nobody"]'),
    )
    outcome = folder.pytest("-k", "hardened and none or (hardened and tests_nothing)")
    assert outcome.counts["failed"] == 4, outcome.text
    assert outcome.counts["passed"] == 1, outcome.text
    assert "\ncrashed: the process was killed by SIGSEGV\n" in outcome.text
    assert "\nout-of-memory: took more memory than its budget of 5 MB\n" in outcome.text
    assert "\ntimed-out: took longer than its budget of 0.5 s\n" in outcome.text
    assert "\ninconclusive: " in outcome.text
    assert "'lost' never fired" in outcome.text
    assert ".py:" not in outcome.text.partition("= FAILURES =")[2]


@pytest.mark.slow
def test_ctrl_c_in_a_cell_ends_the_session_and_the_cell(folder):
    folder.write(
        "odd_task.py",
        ODD_TASK.replace("time.sleep(600)", "hang()")
        + """

def hang():
    with open("worker.pid.part", "w") as note:
        note.write(str(os.getpid()))
    os.rename("worker.pid.part", "worker.pid")
    time.sleep(600)
""",
    )
    folder.write(
        "conftest.py",
        "import odd_task\nimport replay.pytest_plugin.cells as session\n\nsession.run_message = odd_task.run\n",
    )
    folder.write("hangs.kvmatrix.toml", MATRIX)
    running = folder.start("-x")
    note = folder.path / "worker.pid"
    wait_until(lambda: note.exists() or running.poll() is not None)
    running.send_signal(signal.SIGINT)
    text, _ = running.communicate(timeout=HANGS_S)
    assert running.returncode == 2, text
    assert "KeyboardInterrupt" in text
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


@pytest.mark.slow
def test_it_stops_when_asked_to_and_recordings_are_in_a_temporary_folder_of_pytest(folder):
    text = MATRIX.replace('["clean", "transient"]', '"persistent"')
    folder.write("deep/faults.kvmatrix.toml", text)
    outcome = folder.pytest("-x", "--basetemp", "mine")
    assert outcome.counts == {"failed": 1}, outcome.text
    cells = folder.path / "mine" / "kvmatrix" / "deep" / "faults" / "cells"
    assert len(list(cells.glob("*/run.json"))) == 1
    assert not list(cells.glob("*.html"))


def test_a_file_is_no_place_for_recordings(matrix_folder):
    matrix_folder.write("kept", "")
    outcome = matrix_folder.pytest("--kvmatrix-out", "kept")
    assert outcome.code == 4
    assert "ERROR: --kvmatrix-out kept: is a file; name a directory" in outcome.text
