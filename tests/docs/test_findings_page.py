"""docs/findings.md: every category, kind and key has its row, and the file it shows is read."""

import re
from pathlib import Path
from typing import get_args

from replay.recording.kinds import KindName
from replay.verdict.findings.finding import (
    MEANINGS,
    NEVER_ENDED,
    RELEASED_BY_ANOTHER,
    category_of,
)
from replay.verdict.findings.suppressions import Suppression, parse_suppressions

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]


def test_every_category_has_its_row_in_the_words_of_the_page():
    told = {row[0].strip("|` "): row[2].rstrip(" |") for row in ROWS if len(row) == 3}
    assert told == MEANINGS


def test_every_kind_is_in_the_row_of_its_category():
    kinds = {
        row[0].strip("|` "): re.findall(r"`([a-z-]+)`", row[1]) for row in ROWS if len(row) == 3
    }
    for kind in (*get_args(KindName), NEVER_ENDED, RELEASED_BY_ANOTHER):
        pages = -1 if kind == "over-freed" else 1
        assert kind in kinds[category_of(kind, pages, can_end=False)], kind
    assert "counter-drift" in kinds[category_of("counter-drift", -1, can_end=False)]


def test_every_key_of_the_file_is_told():
    assert [row[0].strip("|` ") for row in ROWS if len(row) == 2] == list(Suppression.model_fields)


def test_the_example_is_read():
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(parse_suppressions(text, Path("accepted.toml")).entries) == 2
