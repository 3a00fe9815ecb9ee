"""What all tests share: Hypothesis without deadlines, as machines are busy, and a clean checkout."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# tests/gpu runs on machines that have torch and pyarrow and little else.
pytest_plugins = ["shared_fixtures"] if find_spec("faker") is not None else []
if find_spec("hypothesis") is not None:
    from hypothesis import settings

    examples = int(os.environ.get("KVREPLAY_EXAMPLES", "25"))
    settings.register_profile("kvreplay", deadline=None, max_examples=examples, print_blob=True)
    settings.load_profile("kvreplay")


ROOT = Path(__file__).parents[1]
BEFORE = pytest.StashKey()


def untracked():
    """What git does not know and does not ignore; nothing where there is no git."""
    words = ("git", "-C", str(ROOT), "ls-files", "--others", "--exclude-standard", "-z")
    try:
        listed = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except OSError:
        return set()
    return set(listed.split("\0")) - {""}


def pytest_configure(config):
    # Of several processes only the first, which begins before the others and ends after them.
    if not hasattr(config, "workerinput"):
        config.stash[BEFORE] = untracked()


def pytest_sessionfinish(session):
    """No test leaves a file in the checkout."""
    before = session.config.stash.get(BEFORE, None)
    left = set() if before is None else untracked() - before
    if left:
        print(f"\n\nTests left files in the checkout: {', '.join(sorted(left))}", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
