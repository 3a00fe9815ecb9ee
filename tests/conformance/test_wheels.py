"""The cache of wheels: filled whole or not at all, and nothing unpacked outside of it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import wheels
from index_runs import from_runs, to_runs
from wheels import NoWheelError, unpack, unpacked_wheel


def wheel_of(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KVREPLAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "wheels"


def test_a_wheel_is_downloaded_once_and_left_out_files_stay_out(cache, monkeypatch):
    asked = []

    def download(requirement, folder):
        asked.append(requirement)
        return wheel_of(folder / "x.whl", "x/a.py", "x/big/b.so")

    monkeypatch.setattr(wheels, "_download", download)
    for _ in range(2):
        folder = unpacked_wheel("x==1", skip=("x/big/",))
    assert asked == ["x==1"]
    assert folder == cache / "x==1"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["x", "x/a.py"]
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "x==1"]


@pytest.mark.parametrize("name", ["../out.py", "/out.py", "x/../../out.py", "x\\out.py"])
def test_a_wheel_that_leads_out_of_its_folder_is_refused_whole(tmp_path, name):
    wheel = wheel_of(tmp_path / "x.whl", "x/a.py", name)
    with pytest.raises(NoWheelError, match="holds a file called"):
        unpack(wheel, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


def test_without_the_wheel_the_reason_is_one_line_and_the_cache_stays_empty(cache, monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(
            command, 1, stdout="", stderr="noise\nERROR: no network\n"
        )

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(NoWheelError, match=r"^x==1: ERROR: no network$"):
        unpacked_wheel("x==1")
    assert [path.name for path in cache.iterdir()] == [".lock"]


@pytest.mark.slow
def test_tests_without_a_wheel_are_skipped_with_a_reason_unless_they_must_run(tmp_path):
    """Runs the conformance tests in a process of its own, where pip finds no index."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    here = Path(__file__).with_name("test_allocators_of_sglang.py")
    environment = {
        "PATH": "/usr/bin:/bin",
        "KVREPLAY_CACHE": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    outcomes = []
    for needs_wheels in ("", "1"):
        done = subprocess.run(
            [*command, f"{here}::test_the_comparison_sees_a_single_page_out_of_order"],
            capture_output=True,
            text=True,
            env=environment | {"KVREPLAY_NEEDS_WHEELS": needs_wheels},
            cwd=here.parents[2],
        )
        outcomes.append((done.returncode, done.stdout))
    (skipped, skipped_text), (failed, failed_text) = outcomes
    assert skipped == 0 and "no real SGLang to compare with: sglang==0.5.23" in skipped_text
    assert failed == 1 and "the conformance tests must run" in failed_text


@pytest.mark.parametrize("values", [[], [5], [3, 4, 5, 9, 1, 2], [2, 2, 1, 0]])
def test_runs_are_exact(values):
    assert from_runs(to_runs(values)).tolist() == values
    assert to_runs([3, 4, 5, 9]) == [[3, 3], [9, 1]]
