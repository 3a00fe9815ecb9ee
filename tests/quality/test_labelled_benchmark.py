"""Verdicts on labelled cells: the bounds that are promised, and that wrong ones would be counted."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import click
import pytest
from labelled.benchmark import run_cells
from labelled.drawing import draw_cell
from labelled.score import score
from labelled.trial import Outcome
from measure_verdicts import verdict

from replay.profiles.catalogue import builtin_profiles
from replay.profiles.defects import all_defects

#: Enough to meet every engine some times; `make verdicts` runs the five hundred.
CELLS = int(os.environ.get("KVREPLAY_LABELLED_CELLS", "24"))

RIGHT = Outcome(
    number=0,
    engine="hardened",
    check="warn",
    defect=None,
    faults="drop",
    truth="persistent",
    log_truth="persistent",
    broken={"decode0/dp0": "7 pages belong to 1 requests"},
    white_box="persistent",
    white_box_why="",
    blind="persistent",
    blind_why="",
    quiet_checks=3,
    quiet_lines=3,
)


@pytest.mark.slow
def test_cells_meet_every_engine_defect_and_fault() -> None:
    cells = [draw_cell(0, number) for number in range(500)]
    assert {cell.engine for cell in cells} == set(builtin_profiles())
    assert {cell.defect for cell in cells} - {None} == set(all_defects())
    faults = {rule.fault for cell in cells for rule in cell.plan.rules}
    assert faults == {
        *("drop", "delay", "duplicate", "reorder", "misroute", "early"),
        *("partial", "fail", "stale", "abort", "timeout"),
    }
    clean = sum(not cell.plan.rules for cell in cells)
    assert 50 < clean < 100
    assert {cell.profile.check_strictness for cell in cells} == {"none", "warn", "error"}


@pytest.mark.slow
def test_the_bounds_hold() -> None:
    outcomes = list(run_cells(0, range(CELLS), jobs=2))
    assert [each.number for each in outcomes] == list(range(CELLS))
    result = score(outcomes, 0)
    assert result["white_box"]["wrong"] == 0, result["wrong"]
    # A few cells are few: one wrong one may be among them.
    assert result["logs"]["wrong"] <= max(1, CELLS * 0.02), result["wrong"]
    checks = result["logs"]["with_three_quiet_checks"]
    assert checks["inconclusive"] <= max(1, checks["cells"] * 0.15)
    assert len(result["truth"]) == 4


@pytest.mark.parametrize(
    ("change", "white_box", "logs"),
    [
        ({}, 0, 0),
        ({"blind": "inconclusive", "white_box": "inconclusive"}, 0, 0),
        ({"white_box": "transient"}, 1, 0),
        ({"blind": "clean"}, 0, 1),
        ({"truth": "transient", "log_truth": "transient"}, 1, 1),
        ({"truth": "silent", "log_truth": "silent", "blind": "clean"}, 0, 0),
        ({"truth": "silent", "log_truth": "silent"}, 0, 1),
        ({"log_truth": "silent", "blind": "clean"}, 0, 0),
    ],
)
def test_what_counts_as_wrong(change: dict[str, str], white_box: int, logs: int) -> None:
    result = score([dataclasses.replace(RIGHT, **change)], 0)
    assert (result["white_box"]["wrong"], result["logs"]["wrong"]) == (white_box, logs)
    assert len(result["wrong"]) == (1 if white_box or logs else 0)


def test_shares_are_of_the_right_cells() -> None:
    unsure = dataclasses.replace(RIGHT, blind="inconclusive")
    outcomes = [RIGHT, unsure, dataclasses.replace(unsure, quiet_checks=2)]
    logs = score(outcomes, 0)["logs"]
    assert logs["confusion"]["persistent"] == {
        "clean": 0,
        "transient": 0,
        "persistent": 1,
        "inconclusive": 2,
    }
    assert logs["classes"]["persistent"] == {"precision": 1.0, "recall": 0.3333}
    assert logs["with_three_quiet_checks"] == {
        "cells": 2,
        "wrong": 0,
        "inconclusive": 1,
        "inconclusive_share": 0.5,
    }
    assert logs["with_three_quiet_lines_of_any_pool"]["cells"] == 3


@pytest.mark.slow
def test_the_command_tells_and_repeats_one_cell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    verdict.main(["--cells", "6", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["cells"] == 6
    keep = str(tmp_path / "kept")
    verdict.main(["--cell", "3", "--keep", keep, "--json"], standalone_mode=False)
    one = json.loads(capsys.readouterr().out)
    assert one["number"] == 3
    with pytest.raises(click.UsageError):
        verdict.main(["--keep", keep], standalone_mode=False)
