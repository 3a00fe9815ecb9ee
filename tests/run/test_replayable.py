"""A recording can be replayed from what it holds, and says so when it cannot."""

import json
import shutil
from pathlib import Path

import pytest

from faults.chance import Burst, LogNormal, Uniform
from faults.rule import FaultPlan, FaultRule, rule_document
from replay.errors import RecordingError
from replay.recording.reader import Recording
from replay.run.origin import read_plan, read_profile, replayable
from replay.run.replay_once import replay

SMALL = ["--profile", "sglang-0.4.6.post4", "--set", "decode_tp=2", "--set", "decode_dp=2"]


def again(directory: Path, **given):
    with replayable(Recording.open(directory), **given) as request:
        return replay(request)["recording_sha256"]


@pytest.mark.parametrize(
    "words",
    [
        ["--drop", "0.1", "--seed", "3"],
        ["--swarm", "--seed", "5"],
        ["--plan", "builtin:abort-while-moving", "--repeat", "1"],
        ["--defect", "dummies-are-expected", "--delay", "0.2:500", "--audit", "every-step"],
    ],
)
def test_a_recording_is_replayed_to_the_byte(words, make_trace, run_json, tmp_path):
    trace = make_trace(requests=40)
    _, summary = run_json(trace, *SMALL, *words, "--out", tmp_path / "out")
    assert again(tmp_path / "out") == summary["recording_sha256"]


def test_every_kind_of_rule_survives_its_way_through_json():
    rules = (
        FaultRule("a", "delay", delay_us=Uniform(3, 9), pools=frozenset({"decode0/dp1"})),
        FaultRule("b", "delay", delay_us=LogNormal(1000, 0.5), burst=Burst(5, 10, 0.5, "all")),
        FaultRule("c", "duplicate", copies=2, copy_delay_us=(5, 7), occurrences=frozenset({1, 3})),
        FaultRule("d", "stale", until="room-reused", states=frozenset({"transfer"})),
        FaultRule("e", "abort", when="landed", request_ids=frozenset({"<b>"})),
    )
    document = {
        "comment": "c",
        "source": "s",
        "rules": [rule_document(rule) for rule in rules],
    }
    assert read_plan(json.loads(json.dumps(document))) == FaultPlan(rules, "c", "s")


def test_a_profile_survives_its_way_through_json():
    from replay.profiles.catalogue import find_profile

    profile = find_profile("vllm-0.33")
    assert read_profile(json.loads(json.dumps(profile.to_dict()))) == profile


def test_the_trace_is_found_beside_a_recording_that_moved(
    make_trace, run_json, tmp_path, monkeypatch
):
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path)
    trace = make_trace("made/t.parquet", requests=10)
    _, summary = run_json("made/t.parquet", *SMALL, "--out", "made/out")
    assert trace.exists()
    shutil.move("made", "moved")
    assert again(Path("moved/out")) == summary["recording_sha256"]


def test_a_matrix_files_trace_is_made_again(run_json, tmp_path):
    file = tmp_path / "m.toml"
    file.write_text(
        'name = "m"\n[axes]\ntrace = ["small"]\nprofile = ["hardened"]\n'
        "[trace.small]\nrequests = 10\nseed = 2\n"
    )
    _, summary = run_json(f"{file}#small", *SMALL, "--out", tmp_path / "out")
    assert again(tmp_path / "out") == summary["recording_sha256"]


def test_a_trace_that_is_gone_or_changed_is_one_sentence(make_trace, run_json, tmp_path):
    trace = make_trace("t.parquet", requests=10)
    run_json(trace, *SMALL, "--out", tmp_path / "elsewhere" / "out")
    trace.unlink()
    with pytest.raises(RecordingError, match=r"no such file\); say where it is with --trace"):
        again(tmp_path / "elsewhere" / "out")
    make_trace("t.parquet", requests=11)
    with pytest.raises(RecordingError, match=r"holds other requests than those"):
        again(tmp_path / "elsewhere" / "out")
    right = make_trace("right.parquet", requests=10)
    assert again(tmp_path / "elsewhere" / "out", trace=right)


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: run["profile"].update(page_size="x"),
        lambda run: run["profile"].update(another_engines_field=1),
        lambda run: run["plan"].update(rules=[{"name": "a"}]),
        lambda run: run.update(options=[]),
        lambda run: run.pop("swarm"),
        lambda run: run["environment"].update(allocator="mine.py:make"),
    ],
)
def test_a_damaged_run_json_is_one_sentence(damage, make_trace, run_json, tmp_path):
    run_json(make_trace(requests=5), *SMALL, "--out", tmp_path / "out")
    path = tmp_path / "out" / "run.json"
    run = json.loads(path.read_text())
    damage(run)
    path.write_text(json.dumps(run))
    with pytest.raises(RecordingError, match=r"run\.json: "):
        again(tmp_path / "out")
