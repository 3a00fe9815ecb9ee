"""A folder with a matrix file and pytest run in it, as a user does: in a process of its own."""

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from importlib.metadata import entry_points

import pytest
from plugin_helpers import FALSIFIED
from waiting import HANGS_S

from replay.pytest_plugin import plugin

#: The plugin's own, which the other tests have given to a command line.
kvreplay = plugin.kvreplay


@dataclass(frozen=True)
class Outcome:
    """How a pytest run ended."""

    code: int
    text: str

    @property
    def counts(self):
        """`passed`, `failed` and so on, from the last line."""
        last = self.text.rstrip().rpartition("\n")[2]
        return {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)}


@pytest.fixture(scope="session", autouse=True)
def installed():
    """Whether the checkout was installed since it has a plugin."""
    names = {entry.name for entry in entry_points(group="pytest11")}
    assert "kvreplay" in names, "install the checkout anew: it has gained an entry point"


class _Collected:
    """A plugin that notes what there is to run."""

    def __init__(self):
        self.ids = []

    def pytest_collection_finish(self, session):
        self.ids = [item.nodeid for item in session.items]


class Folder:
    """A folder of a user's tests."""

    def __init__(self, path):
        self.path = path
        self.write("pytest.ini", "[pytest]\naddopts = --strict-markers -p no:cacheprovider\n")

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def collect(self, *words):
        """Node ids that pytest collects here, in this process: (exit code, ids, output)."""
        found = _Collected()
        output = io.StringIO()
        with contextlib.chdir(self.path), contextlib.redirect_stdout(output):
            words = ["--co", "--import-mode=importlib", "-p", "no:hypothesispytest", *words]
            code = pytest.main([str(word) for word in words], plugins=[found])
        return int(code), found.ids, output.getvalue()

    def start(self, *words, cwd="."):
        """Start pytest in a process of its own."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        # Temporary folders of nested runs are this test's own.
        environment |= {"PYTEST_DEBUG_TEMPROOT": str(self.path.parent), "COLUMNS": "100"}
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *map(str, words)],
            cwd=self.path / cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pytest(self, *words, cwd="."):
        """Run it to its end."""
        with self.start(*words, cwd=cwd) as running:
            text, _ = running.communicate(timeout=HANGS_S)
        return Outcome(running.returncode, text)


@pytest.fixture
def folder(tmp_path):
    """An empty folder of tests."""
    path = tmp_path / "tests"
    path.mkdir()
    return Folder(path)


@pytest.fixture
def matrix_folder(folder):
    """The same with a matrix whose one expectation is wrong."""
    folder.write("faults.kvmatrix.toml", FALSIFIED)
    return folder
