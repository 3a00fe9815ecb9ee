"""docs/shrink.md: its commands run as they stand and say what the page says."""

import re
import shlex
from pathlib import Path

import pytest

from replay.cli import run_command_line
from replay.recording.file_kinds import SHRUNK

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "shrink.md").read_text(encoding="utf-8")
LINES = re.findall(r"^    (kvreplay .*)$", PAGE, re.M)


def test_the_commands_of_the_page_run_and_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(LINES) == 4
    codes = [run_command_line(shlex.split(line)[1:]) for line in LINES]
    assert codes == [0, 1, 0, 0]
    said = capsys.readouterr().out
    (sizes,) = re.findall(r"^    (\d+ requests, .* -> .*)$", PAGE, re.M)
    assert sizes in said
    for line in re.findall(r"^      ((?:before|after): .*)$", PAGE, re.M):
        assert line in said
    assert set(Path("double-free").iterdir()) == {
        Path("double-free/found"),
        Path("double-free/shrunk"),
    }


@pytest.mark.parametrize("name", [name for name in SHRUNK.entries if name != ".lock"])
def test_every_file_is_told(name):
    assert f"`{name}" in PAGE
