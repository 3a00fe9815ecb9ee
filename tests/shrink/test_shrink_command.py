"""`kvreplay shrink` from the outside: what it writes, what it says, what it refuses."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shrink_cases import plain_case

from faults.rule import FaultRule
from replay.pytest_plugin.harness import Harness
from replay.shrink.outputs import write_case

FILES = ["plan.toml", "recording", "shrunk.json", "test_shrunk.py", "trace.parquet"]


@pytest.fixture
def lost(tmp_path):
    """A folder with a trace, a plan and the recording of lost completions."""
    rule = FaultRule("lose", "drop", probability=0.5)
    directory = tmp_path / "lost"
    record(directory, plain_case(6, rules=(rule,)))
    return directory


def record(directory, case):
    directory.mkdir()
    write_case(directory, directory, case, "", "a test")


def contents(directory):
    """Every file's bytes but for what says how long it took, which machine it was, and progress."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != "journal.jsonl":
            data = path.read_bytes()
            if path.suffix == ".json":
                document = json.loads(data)
                document.pop("timing", None)
                document.pop("environment", None)
                data = json.dumps(document).replace(str(directory), "HERE").encode()
            found[str(path.relative_to(directory))] = data
    return found


@pytest.mark.slow
def test_it_writes_everything_and_the_line_and_the_test_work(lost, kvreplay, tmp_path):
    out = tmp_path / "small"
    code, text, err = kvreplay("shrink", lost / "recording", "-o", out)
    assert code == 0
    assert "6 requests, 1 rule -> 1 request, 1 rule" in text
    assert "no request and no rule can be left away" in text
    assert [path.name for path in sorted(out.iterdir()) if path.name[0] != "."] == sorted(
        [*FILES, "journal.jsonl"]
    )
    line = shlex.split(err.split("reproduce: ", 1)[1])[1:]
    _, out_json, _ = kvreplay(*line, "--json")
    summary = json.loads(out_json)
    assert (summary["verdict"], list(summary["kinds"])) == ("persistent", ["stuck"])
    assert summary["requests"]["total"] == 1
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shrunk.py"]
    ran = subprocess.run(words, cwd=out, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    # The test fails when the bug is gone: its plan does nothing.
    (out / "plan.toml").write_text(
        (out / "plan.toml").read_text().replace('fault = "drop"', 'fault = "duplicate"')
    )
    module: dict[str, object] = {"__file__": str(out / "test_shrunk.py")}
    exec((out / "test_shrunk.py").read_text(), module)
    with pytest.raises(AssertionError):
        module["test_shrunk"](Harness(tmp_path))


@pytest.mark.slow
def test_the_same_twice_is_byte_identical_and_done_again_it_stays(lost, kvreplay, tmp_path):
    for name in ("one", "two"):
        assert kvreplay("shrink", lost, "-o", tmp_path / name, "--json")[0] == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    code, text, _ = kvreplay("shrink", lost, "-o", tmp_path / "one", "--json")
    assert (code, json.loads(text)["minimal"]) == (0, True)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert kvreplay("shrink", tmp_path / "one", "-o", tmp_path / "three", "--json")[0] == 0
    for name in ("trace.parquet", "plan.toml", "test_shrunk.py"):
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.slow
def test_out_of_budget_it_says_so_and_goes_on_to_the_same_end(lost, kvreplay, tmp_path):
    part, whole = tmp_path / "part", tmp_path / "whole"
    code, text, _ = kvreplay("shrink", lost, "-o", part, "--max-replays", 4)
    assert code == 0
    assert "not minimal" in text
    assert json.loads((part / "shrunk.json").read_text())["tried"] == 4
    kvreplay("shrink", lost, "-o", part)
    kvreplay("shrink", lost, "-o", whole)
    assert contents(part) == contents(whole)


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_tried(lost, kvreplay, tmp_path, monkeypatch):
    from replay.shrink import search

    real, left = search.outcome_in_memory, iter(range(9))

    def interrupted(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*arguments)

    out = tmp_path / "small"
    monkeypatch.setattr(search, "outcome_in_memory", interrupted)
    code, _, err = kvreplay("shrink", lost, "-o", out)
    assert code == 130
    assert "the same command goes on from there" in err
    assert not (out / "shrunk.json").exists()
    tried = (out / "journal.jsonl").read_text().count("\n") - 1
    assert tried > 0
    # Somebody else's shrink may not take the place over.
    monkeypatch.setattr(search, "outcome_in_memory", real)
    code, _, err = kvreplay("shrink", lost, "-o", out, "--same-gap")
    assert code == 2
    assert "--restart" in err
    assert kvreplay("shrink", lost, "-o", out)[0] == 0
    assert (out / "journal.jsonl").read_text().count("\n") - 1 > tried
    assert kvreplay("shrink", lost, "-o", out, "--same-gap", "--restart")[0] == 0


@pytest.mark.slow
def test_a_swarm_run_of_a_matrix_trace_can_be_shrunk(kvreplay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    axes = 'trace = ["t"]\nprofile = ["hardened"]\n'
    Path("m.toml").write_text(f'name = "m"\n[axes]\n{axes}[trace.t]\nrequests = 40\n')
    code, _, err = kvreplay(
        "run", "m.toml#t", "--profile", "sglang-0.4.6.post4", "--swarm", "--seed", 4, "--out", "rec"
    )
    assert code in (1, 3), err
    code, text, err = kvreplay("shrink", "rec", "-o", "small", "--json")
    assert code == 0, err
    shrunk = json.loads(text)
    assert "--swarm" not in shrunk["reproduce"]
    assert shrunk["after"]["requests"] < 5
    assert shrunk["after"]["verdict"] == shrunk["before"]["verdict"]


def test_a_trace_that_is_gone_or_another_is_told(lost, kvreplay, tmp_path):
    trace, away = lost / "trace.parquet", tmp_path / "away.parquet"
    shutil.move(trace, away)
    code, _, err = kvreplay("shrink", lost, "-o", tmp_path / "small")
    assert code == 2
    assert "--trace FILE" in err
    assert not (tmp_path / "small").exists()
    assert kvreplay("shrink", lost, "--trace", away, "-o", tmp_path / "small")[0] == 0
    kvreplay("trace", "synth", "--requests", 3, "-o", trace)
    code, _, err = kvreplay("shrink", lost, "-o", tmp_path / "other")
    assert code == 2
    assert "other requests" in err


def test_what_tests_nothing_or_went_well_is_refused(kvreplay, tmp_path):
    well, idle = tmp_path / "well", tmp_path / "idle"
    record(well, plain_case(2))
    never = FaultRule("never", "drop", request_ids=frozenset({"nobody"}))
    record(idle, plain_case(2, rules=(never,)))
    for directory, words in ((well, "clean"), (idle, "never fired")):
        code, _, err = kvreplay("shrink", directory, "-o", tmp_path / "small")
        assert code == 2
        assert words in err
        assert "Traceback" not in err


def test_no_exact_numbers_without_a_gap(kvreplay, tmp_path):
    code, _, _ = kvreplay(
        "hunt", "--defect", "one-rank-counts-as-all", "-o", tmp_path / "h", "--max-replays", 1
    )
    assert code == 0
    found = tmp_path / "h" / "found"
    code, _, err = kvreplay("shrink", found, "--same-gap", "-o", tmp_path / "small")
    assert code == 2
    assert "--same-gap" in err


def test_other_things_in_the_way_are_left_alone(lost, kvreplay, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    for out in (full, full / "thesis.txt"):
        code, _, err = kvreplay("shrink", lost, "-o", out)
        assert code == 2
        assert str(out) in err
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: run.update(profile={"name": "mine"} | run["profile"] | {"name": "mine"}), "mine"),
        (lambda run: run.pop("options"), "cannot be replayed"),
        (lambda run: run["plan"]["rules"][0].update(fault="explode"), "explode"),
        (lambda run: run["environment"].update(allocator="my.Allocator"), "my.Allocator"),
        (lambda run: run["profile"].update(page_size=0), "page_size"),
    ],
)  # fmt: skip
def test_a_damaged_recording_is_told_in_one_line(lost, kvreplay, tmp_path, damage, words):
    path = lost / "recording" / "run.json"
    run = json.loads(path.read_text())
    damage(run)
    path.write_text(json.dumps(run))
    code, _, err = kvreplay("shrink", lost, "-o", tmp_path / "small")
    assert code == 2, err
    assert words in err
    assert "Traceback" not in err


def test_a_hunt_that_finds_nothing_says_so(kvreplay, tmp_path):
    code, text, _ = kvreplay("hunt", "--seeds", 2, "-o", tmp_path / "h")
    assert code == 3
    assert "2 seeds" in text
    code, _, err = kvreplay("hunt", "--defect", "no-such-bug", "-o", tmp_path / "h")
    assert code == 2
    code, _, err = kvreplay(
        "hunt", "--profile", "vllm-0.33", "--defect", "late-completion-crashes", "-o", tmp_path
    )
    assert code == 2
    assert "already has it" in err
