"""docs/verdicts.md leaves out no word that a verdict can use, and no table."""

import re
from pathlib import Path
from typing import get_args

from replay.recording.kinds import GrowthName, KindName, VerdictName
from replay.recording.tables import EPISODES_SCHEMA, TABLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")
FIRST = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.M)


def test_every_verdict_and_kind_has_a_row():
    assert [*get_args(VerdictName), *FIRST[4:]] == FIRST
    assert sorted(FIRST[4:]) == sorted(get_args(KindName))


def test_every_growth_is_told():
    (told,) = re.findall(r"- \*\*Growth\*\*.*?chance\.", PAGE, re.S)
    assert set(get_args(GrowthName)) <= set(re.findall(r"`([a-z-]+)`", told))


def test_every_table_is_told():
    assert {*TABLES, "episodes"} == set(re.findall(r"^\| `([a-z]+)\.parquet` \|", PAGE, re.M))
    assert {"verdict", "direction", "kinds", "growth", "blame"} <= set(EPISODES_SCHEMA.names)
