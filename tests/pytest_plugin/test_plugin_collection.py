"""Which files and cells become tests, and what pytest's own options make of them."""

from pathlib import Path

import pytest
from plugin_helpers import FALSIFIED, MATRIX

ROOT = Path(__file__).resolve().parents[2]
HARDENED_LOSSY = "trace=tiny profile=hardened topology=tp1:tp1 total_tokens=65536 plan=lossy"  # the name of one cell


@pytest.mark.slow
def test_one_item_per_cell_called_like_the_cell(matrix_folder):
    code, ids, _ = matrix_folder.collect()
    assert code == 0
    assert len(set(ids)) == 4
    assert f"faults.kvmatrix.toml::{HARDENED_LOSSY}" in ids


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["-k", "hardened and lossy"], 1),
        (["-k", "hardened or lossy"], 3),
        (["-m", "kvmatrix"], 4),
        (["-m", "not kvmatrix"], 1),
        ([f"faults.kvmatrix.toml::{HARDENED_LOSSY}"], 1),
        (["faults.kvmatrix.toml"], 4),
        (["test_other.py"], 1),
        (["--no-kvmatrix"], 1),
        (["-o", "kvmatrix=false"], 1),
        ([], 5),
    ],
)
def test_what_is_asked_for_is_what_is_collected(matrix_folder, words, count):
    matrix_folder.write("test_other.py", "def test_other(): pass\n")
    code, ids, text = matrix_folder.collect(*words)
    assert code == 0, text
    assert len(ids) == count, text


@pytest.mark.slow
def test_files_outside_of_testpaths_are_tests_only_when_they_are_named(folder):
    folder.write("pytest.ini", "[pytest]\ntestpaths = inside\n")
    folder.write("inside/test_one.py", "def test_one(): pass\n")
    folder.write("outside/faults.kvmatrix.toml", MATRIX)
    folder.write("outside/plain.toml", "a = 1\n")
    assert len(folder.collect()[1]) == 1
    assert len(folder.collect("outside/faults.kvmatrix.toml")[1]) == 4


@pytest.mark.slow
def test_a_wrong_file_is_an_error_that_names_the_line(folder):
    folder.write("good.kvmatrix.toml", MATRIX)
    folder.write("bad.kvmatrix.toml", MATRIX.replace('["none", "lossy"]', '["none", "losy"]'))
    code, ids, text = folder.collect()
    assert code == 2
    assert "bad.kvmatrix.toml:5: plan: losy is neither" in text
    assert "did you mean lossy?" in text
    assert "Traceback" not in text
    assert ".py:" not in text
    assert len(ids) == 4


@pytest.mark.slow
def test_a_profile_that_cannot_be_made_is_found_before_any_cell_runs(folder):
    folder.write("bad.kvmatrix.toml", MATRIX.replace("[65536]", "[65537]"))
    code, _, text = folder.collect()
    assert code == 2
    assert "bad.kvmatrix.toml:4: total_tokens: " in text
    assert ".py:" not in text


@pytest.mark.slow
def test_what_has_no_effect_in_a_file_is_a_warning(folder):
    folder.write("odd.kvmatrix.toml", MATRIX + '\n[[exclude]]\nplan = "nothing"\n')
    line = 2 + MATRIX.count("\n")
    code, _, text = folder.collect()
    assert code == 0
    assert f"odd.kvmatrix.toml:{line}: exclude[1] removes no cell" in text


def test_the_matrices_of_this_repository_are_no_tests_unasked():
    testpaths = (ROOT / "pyproject.toml").read_text().partition("testpaths = ")[2]
    assert testpaths.startswith('["tests"]')
    assert not list((ROOT / "tests").rglob("*.kvmatrix.toml"))


def test_a_session_that_asks_for_no_matrix_loads_the_plugin_only_and_may_have_its_own_fixture(
    matrix_folder,
):
    matrix_folder.write(
        "test_modules.py",
        """
        import sys

        def test_modules(kvreplay):
            assert kvreplay == "a fixture of a user's own"
            ours = {"replay", "faults", "traces", "reports"}
            loaded = {name for name in sys.modules if name.split(".")[0] in ours}
            assert loaded == {"replay", "replay.pytest_plugin", "replay.pytest_plugin.plugin"}
            assert not {"torch", "pyarrow", "pydantic", "numpy", "click"} & set(sys.modules)
        """,
    )
    matrix_folder.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture
        def kvreplay():
            return "a fixture of a user's own"
        """,
    )
    alone = ["-p", "no:hypothesispytest", "-p", "no:faker"]
    outcome = matrix_folder.pytest(*alone, "test_modules.py")
    assert outcome.counts == {"passed": 1}, outcome.text


@pytest.mark.slow
def test_the_last_failed_cells_run_again_alone_and_a_line_names_the_file_from_where_one_is(folder):
    folder.write("pytest.ini", "[pytest]\n")
    path = folder.write("faults.kvmatrix.toml", FALSIFIED)
    (folder.path / "elsewhere").mkdir()
    outcome = folder.pytest("..", cwd="elsewhere")
    assert outcome.counts == {"failed": 1, "passed": 3}
    assert f"reproduce: kvreplay run '{path}#tiny'" in outcome.text
    _, ids, _ = folder.collect("--lf")
    assert len(ids) == 1
    assert "profile=sglang-0.4.6.post4" in ids[0]
    assert "plan=lossy" in ids[0]
