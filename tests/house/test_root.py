"""The root holds what it says, and nothing that a run has left."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELD = """
.ci .git-blame-ignore-revs .gitignore CHANGELOG.md LICENSE Makefile README.md constraints.txt docs
examples faults pyproject.toml replay reports tests traces
"""


def test_the_root_holds_only_what_belongs_there():
    listed = subprocess.run(
        ("git", "-C", str(ROOT), "ls-files", "-z"), capture_output=True, text=True, check=True
    ).stdout
    assert {name.partition("/")[0] for name in listed.split("\0") if name} <= set(HELD.split())
