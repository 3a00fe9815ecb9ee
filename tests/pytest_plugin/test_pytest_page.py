"""docs/pytest.md: every example in it runs, and says what the page says it does."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pytest.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)
FILES = {
    re.match(r"# (\S+)\n", text)[1]: text for kind, text in BLOCKS if kind in ("python", "toml")
}
COMMANDS = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
(SHOWN,) = [text for kind, text in BLOCKS if kind == "text"]


@pytest.fixture
def page_folder(folder):
    for name, text in FILES.items():
        folder.write(name, text)
    return folder


@pytest.mark.slow
def test_every_example_passes_and_the_output_is_the_one_shown(page_folder):
    outcome = page_folder.pytest("-rA")
    tests = sum(text.count("\ndef test_") for text in FILES.values())
    assert outcome.counts == {"passed": tests + 4}, outcome.text
    for line in SHOWN.splitlines():
        if not line.startswith("  recording: "):
            assert f"\n{line}\n" in outcome.text, line


@pytest.mark.slow
def test_every_command_finds_tests(page_folder, monkeypatch):
    monkeypatch.syspath_prepend(page_folder.path)
    assert len(COMMANDS) > 4
    counts = []
    for command in COMMANDS:
        program, *words = shlex.split(command)
        code, ids, text = page_folder.collect(*words)
        assert (program, code) == ("pytest", 0), text
        counts.append(len(ids))
    everything, hardened_lost, cells, others, one_file, one_cell = counts
    assert (hardened_lost, cells, one_file, one_cell) == (1, 4, 4, 1)
    assert everything == cells + others


def test_every_option_of_the_plugin_and_argument_of_a_run_is_told():
    import inspect

    from replay.pytest_plugin.harness import Harness
    from replay.pytest_plugin.replayed import Replayed

    source = inspect.getsource(__import__("replay.pytest_plugin.plugin", fromlist=["plugin"]))
    for option in re.findall(r'"(--[a-z-]+)"', source):
        assert f"`{option}" in PAGE
    arguments = set(inspect.signature(Harness.run).parameters) - {"self"}
    members = {name for name in dir(Replayed) if not name.startswith("_")} - {"details"}
    for name in arguments | members:
        assert re.search(rf"`{name}[`(]", PAGE), name
