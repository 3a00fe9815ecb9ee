"""Every known bug: one command finds it by swarm and shrinks it to next to nothing."""

import json
import shlex
import time

import pytest

from replay.cli import run_command_line
from replay.profiles.defects import all_defects
from replay.recording.reader import Recording
from replay.shrink.outcome import outcome_of

SECONDS_MAX = 60


def outcome(recording, summary):
    return outcome_of(summary, Recording.open(recording).run)


@pytest.mark.slow
@pytest.mark.parametrize("defect", sorted(all_defects()))
def test_one_command_finds_every_bug_and_shrinks_it(defect, tmp_path, capsys):
    started = time.process_time()
    assert run_command_line(["hunt", "--defect", defect, "-o", f"{tmp_path}/h", "--json"]) == 0
    assert time.process_time() - started < SECONDS_MAX
    shrunk = json.loads(capsys.readouterr().out)
    assert shrunk["after"]["requests"] <= 5
    assert shrunk["after"]["rules"] <= 2
    assert shrunk["minimal"]
    assert shrunk["before"]["requests"] >= shrunk["after"]["requests"]

    # Alone, by the line that was printed, it comes to the same.
    line = shlex.split(shrunk["reproduce"])[1:]
    run_command_line([*line, "--json", "--out", f"{tmp_path}/alone"])
    summary = json.loads(capsys.readouterr().out)
    found = Recording.open(tmp_path / "h" / "found" / "recording").summary()
    wanted = outcome(tmp_path / "h" / "found" / "recording", found)
    assert outcome(tmp_path / "alone", summary) == wanted
    assert wanted.kind == shrunk["goal"]["kind"]
    assert wanted.kind is None or wanted.kind in summary["kinds"]
    kept = tmp_path / "h" / "shrunk" / "recording"
    assert summary["recording_sha256"] == Recording.open(kept).summary()["recording_sha256"]

    # Without the bug it comes to something else.
    at = line.index("--defect")
    run_command_line([*line[:at], *line[at + 2 :], "--json", "--out", f"{tmp_path}/without"])
    summary = json.loads(capsys.readouterr().out)
    assert outcome(tmp_path / "without", summary) != wanted
