"""What pytest keeps of the cells of a matrix changes nothing else, whatever stands there."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path

import pytest
from cage import MADE, NOTES, REFUSED, is_under, sandbox
from file_helpers import copy, hidden, tree
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

#: Each collects and runs two cells.
CASES = max(20, int(os.environ.get("KVREPLAY_ZOO_CASES", "0")) // 20)


def run_pytest(work: Path, out: str) -> tuple[int, str]:
    """Run the cells of the matrix file in a folder with pytest, in this process."""
    text = io.StringIO()
    words = ["m.kvmatrix.toml", "--kvmatrix-out", out, "--rootdir", ".", "-c", "pytest.ini"]
    words += ["-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--basetemp", "../temp"]
    with contextlib.chdir(work), contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = int(pytest.main(words))
    return code, text.getvalue()


@pytest.fixture(scope="module")
def kept(zoo, tmp_path_factory) -> Path:
    """What pytest keeps of the cells."""
    work = tmp_path_factory.mktemp("kept") / "work"
    work.mkdir()
    copy(zoo / "m.kvmatrix.toml", work / "m.kvmatrix.toml")
    (work / "pytest.ini").write_text("[pytest]\n")
    code, text = run_pytest(work, "kept")
    assert code == 0, text
    return work / "kept"


#: What stands in the folder, by what is to become of it: a path there, `*` being a cell, and content.
IN_KEPT = {
    "nothing": (MADE, {}),
    "notes at the top": (MADE, {"notes.txt": NOTES, "m/notes.txt": NOTES}),
    "notes beside the cells": (MADE, {"m/cells/notes.txt": NOTES, "m/cells/mine/run.json": NOTES}),
    "a file where the folder goes": (REFUSED, {"m": NOTES}),
    "a file where the cells go": (REFUSED, {"m/cells": NOTES}),
    "a file called like a cell": (REFUSED, {"m/cells/*": NOTES}),
    "a folder called like a cell": (REFUSED, {"m/cells/*/thesis.tex": NOTES}),
    "a folder that looks like a cell": (
        REFUSED,
        {"m/cells/*/run.json": b"{}", "m/cells/*/thesis.tex": NOTES},
    ),
    "a document of another": (REFUSED, {"m/cells/*.json": b'{"schema": "other/1"}'}),
    "a page of another": (REFUSED, {"m/cells/*.html": b"<!doctype html><title>mine</title>"}),
}


@settings(max_examples=CASES, derandomize=True, database=None)
@given(
    st.sampled_from(list(IN_KEPT)),
    st.sampled_from(["kept", "./kept", "kept/", "sub/../kept", "absolute", "link"]),
    st.booleans(),
    st.integers(0, 1),
)
def test_pytest_changes_nothing_but_the_cells_that_it_kept(
    zoo, kept, tmp_path_factory, name, typed, is_again, which
):
    expected, files = IN_KEPT[name]
    with sandbox(tmp_path_factory.mktemp("pytest")) as root:
        work = root / "work"
        (work / "sub").mkdir(parents=True)
        (root / "temp").mkdir()
        copy(zoo / "m.kvmatrix.toml", work / "m.kvmatrix.toml")
        (work / "pytest.ini").write_text("[pytest]\n")
        (work / "link").symlink_to(work / "kept")
        slug = sorted(path.stem for path in (kept / "m/cells").glob("*.json"))[which]
        ours: set[str] = set()
        if is_again and not any(each in ("m", "m/cells") for each in files):
            copy(kept, work / "kept")
            ours = set(tree(root))
        for each, content in files.items():
            path = work / "kept" / each.replace("*", slug)
            if path.parent.name != slug and path.is_dir():
                shutil.rmtree(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            ours -= {os.path.relpath(path, root)}
        before = tree(root)
        out = str(work / "kept") if typed == "absolute" else typed
        code, text = run_pytest(work, out)
        after = {path: entry for path, entry in tree(root).items() if not is_under(path, {"temp"})}
        changed = {path for path in before.keys() - ours if after.get(path) != before[path]}
        assert not changed - {"temp"}, text
        assert not hidden(root)
        assert code == (0 if expected == MADE else 1), text
        assert "INTERNALERROR" not in text
        assert {
            path for path in after.keys() - before.keys() if not is_under(path, {"work/kept"})
        } == set()
