"""docs/explain.md: what it shows is what comes out, and it leaves out no key of the JSON."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from replay.cli import run_command_line
from replay.explain.life import StepKind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_example_is_what_comes_out(ran, monkeypatch, capsys):
    folder, outcomes = ran("docs/explain.md")
    shown = re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)
    assert shown == [
        outcome.out for outcome in outcomes if outcome.line.startswith("kvreplay explain")
    ]
    monkeypatch.chdir(folder)
    run_command_line(["explain", "dropped", "--json"])
    life = json.loads(capsys.readouterr().out)
    keys = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", PAGE, re.M)
    told = {key for cell in keys for key in re.findall(r"`([a-z_]+)`", cell)}
    assert told == {*life, *life["steps"][0]}


def test_every_kind_of_step_is_told():
    (row,) = re.findall(r"^\| `kind` \| (.*) \|$", PAGE, re.M)
    assert re.findall(r"`([a-z]+)`", row) == list(get_args(StepKind))
