"""`diagnose --follow`: a log that grows, is moved away or cut, and a user who presses Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import HANGS_S

from replay.commands.diagnose import watch
from replay.diagnosis.diagnose import Follower
from replay.diagnosis.diagnosis import Diagnosis

TOTAL = 4096


def warning(second: int, gap: int) -> str:
    return (
        f"[2026-01-12 10:00:{second:02d} TP0] pool memory leak detected! [full] total={TOTAL}, "
        f"available={TOTAL - gap}, evictable=0, protected=0, session_held=0, uncached=0\n"
    )


class EnoughError(Exception):
    """The script of a test is at its end."""


def followed(path: Path, script: list[object]) -> list[str]:
    """The verdicts shown while texts and actions happen to the log, one a wait, and in the end how
    many accounting lines were read.
    """
    shown: list[str] = []
    # What waits for further lines is taken on a quiet look.
    steps = iter([step for each in script for step in (each, None)])

    def wait() -> None:
        try:
            step = next(steps)
        except StopIteration:
            raise EnoughError from None
        if isinstance(step, str):
            with path.open("a") as file:
                file.write(step)
        elif callable(step):
            step()

    def show(diagnosis: Diagnosis) -> None:
        shown.append(f"{diagnosis.worst.verdict} {diagnosis.worst.growth}")

    follower = Follower(str(path))
    with pytest.raises(EnoughError):
        watch(follower, show, wait)
    return [*shown, f"{follower.diagnosis().observations_total} lines"]


def test_a_verdict_is_shown_when_it_changes_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "decode.log"
    path.write_text("starting\n")
    script = [warning(1, 64), "nothing new\n", warning(11, 64), warning(21, 64), warning(31, 64)]
    assert followed(path, [*script, warning(41, 0)]) == [
        "inconclusive unknown",
        "inconclusive unknown",
        "persistent unknown",
        "persistent one-off",
        "transient none",
        "5 lines",
    ]


def test_a_log_that_is_moved_away_or_cut_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "decode.log"
    path.write_text(warning(1, 64))

    def move() -> None:
        # The old file gets its last line after the last look.
        with path.open("a") as file:
            file.write(warning(11, 64))
        path.rename(tmp_path / "decode.log.1")
        path.write_text(warning(21, 128))

    def vanish() -> None:
        path.rename(tmp_path / "decode.log.2")

    def cut() -> None:
        os.truncate(path, 0)

    shown = followed(path, [move, cut, warning(31, 128), vanish, warning(41, 192)])
    assert shown[-2:] == ["persistent growing", "5 lines"]


def test_a_message_written_in_pieces_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "decode.log"
    path.write_text("")
    line = warning(1, 64)
    assert followed(path, [line[:40], line[40:90], line[90:]])[-2:] == [
        "inconclusive unknown",
        "1 lines",
    ]


def test_ctrl_c_gives_the_last_verdict_and_its_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "decode.log"
    path.write_text(warning(1, 64))
    command = [sys.executable, "-m", "replay.cli", "diagnose", "--follow", str(path)]
    process = subprocess.Popen(
        [*command, "--poll-s", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    with path.open("a") as file:
        file.write(warning(11, 64) + warning(21, 64))
    seen = first
    while "PERSISTENT" not in seen and seen:
        seen = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANGS_S)
    assert "PERSISTENT" in seen
    assert process.returncode == 1, err
    assert "PERSISTENT" in out
    assert "Traceback" not in err
