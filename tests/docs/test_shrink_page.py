"""docs/shrink.md: its commands run as they stand and say what the page says."""

import re
from pathlib import Path

import pytest

from replay.recording.file_kinds import SHRUNK

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "shrink.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_commands_of_the_page_run_and_say_so(ran):
    folder, outcomes = ran("docs/shrink.md")
    assert [outcome.code for outcome in outcomes] == [0, 1, 0, 0]
    said = "".join(outcome.out for outcome in outcomes)
    (sizes,) = re.findall(r"^    (\d+ requests, .* -> .*)$", PAGE, re.M)
    assert sizes in said
    for line in re.findall(r"^      ((?:before|after): .*)$", PAGE, re.M):
        assert line in said
    assert {path.name for path in (folder / "double-free").iterdir()} == {"found", "shrunk"}


@pytest.mark.parametrize("name", [name for name in SHRUNK.entries if name != ".lock"])
def test_every_file_is_told(name):
    assert f"`{name}" in PAGE
