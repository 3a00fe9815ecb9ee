"""The map of the packages says a sentence of every folder, so that a stranger finds the next place."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_folder_of_modules_has_its_sentence_and_no_other():
    folders = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for package in ("traces", "faults", "replay", "reports")
        for path in (ROOT / package).rglob("*.py")
        # Each part of the page is a folder: they are a list, not rooms.
        if path.parent.parent != ROOT / "reports" / "parts"
    } | {"faults/plans/"}
    assert len(folders) > 30
    assert set(re.findall(r"^\| `([a-z_/]+/)` \| [^|]{10,} \|$", MAP, re.MULTILINE)) == folders


def test_every_path_on_the_map_exists():
    paths = re.findall(r"`((?:traces|faults|replay|reports|tests|docs)/[\w/.]*)`", MAP)
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_map_is_short():
    assert len(MAP.splitlines()) <= 150
