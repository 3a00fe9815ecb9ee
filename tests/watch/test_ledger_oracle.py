"""Pages handled by others than their owners: they make a verdict, and have a name."""

import json
import shutil

import numpy as np
import pytest

from replay.recording.reader import Recording
from replay.verdict.judge import judge
from replay.verdict.rules import objections
from traces.schema import TraceRequest

SMALL = [
    word
    for pair in (
        "total_tokens=4096", "prefill_total_tokens=4096", "page_size=64", "prefill_tp=1",
        "decode_tp=1", "decode_dp=1",
    )
    for word in ("--set", pair)
]  # fmt: skip

#: What the ledger can see, the kind it is called by, and the words of the verdict.
VIOLATIONS = {
    "acquired_while_owned": ("double-owned", "given out while somebody owned them"),
    "released_by_another": ("over-freed", "released by another than their owner"),
    "written_by_another": ("stale-write", "written by a transfer after they were released"),
    "read_by_another": ("premature-free", "read by a transfer after they were released"),
    "slots_written_by_another": ("stale-write", "written after they were given back"),
}

ONE = [TraceRequest("a", 0, 640, 5)]
LEAVES = [TraceRequest("a", 0, 640, 5, cancel_us=50_000)]
SLOW = ("--set", "transfer_us_per_page=20000")


@pytest.fixture
def ledger(write_trace, run_json, tmp_path):
    """Run a few requests with one bug: (summary, violations by name)."""

    def run(requests, *words):
        out = tmp_path / "recording"
        trace = write_trace(requests)
        _, summary = run_json(trace, "--profile", "hardened", *SMALL, *words, "--out", out)
        return summary, json.loads((out / "run.json").read_text())["oracles"]["ledger"]

    return run


@pytest.mark.parametrize(
    ("requests", "words", "found"),
    [
        pytest.param(
            LEAVES,
            (*SLOW, "--defect", "abort-frees-under-the-writer"),
            {"written_by_another": 10, "slots_written_by_another": 1},
            id="released under its writer",
        ),
        pytest.param(
            LEAVES,
            (*SLOW, "--set", "deferred_timeout_us=50000"),
            {"written_by_another": 10, "slots_written_by_another": 1},
            id="deferred, but not for long enough",
        ),
        pytest.param(
            LEAVES,
            (*SLOW, "--defect", "metadata-slot-reused"),
            {"slots_written_by_another": 1},
            id="first-token buffer given back too early",
        ),
        pytest.param(
            ONE,
            ("--defect", "source-freed-before-it-is-read"),
            {"read_by_another": 10},
            id="prompt released on submission",
        ),
        pytest.param(
            ONE,
            (*SLOW, "--set", "acknowledgement_timeout_us=50000",
             "--defect", "hold-timeout-ignores-readers"),
            {"read_by_another": 10},
            id="prompt released by a timeout",
        ),
    ],
)  # fmt: skip
def test_what_nobody_has_noticed_yet_is_a_finding_although_every_count_balances(
    ledger, requests, words, found
):
    summary, violations = ledger(requests, *words)
    assert {name: count for name, count in violations.items() if count} == found
    assert summary["verdict"] == "persistent"
    assert summary["why"].startswith("every count balances, but ")
    kinds = {}
    for name, count in found.items():
        kind, told = VIOLATIONS[name]
        kinds[kind] = kinds.get(kind, 0) + count
        assert f"{count} " in summary["why"]
        assert told in summary["why"]
    assert summary["kinds"] == kinds
    assert (summary["mismatch"], summary["episodes"]) == (None, 0)
    assert summary["oracles"] == {
        "count": 0,
        "ledger": sum(found.values()),
        "contents": 0,
        "liveness": 0,
    }
    assert [line.split(":")[0] for line in objections(summary)] == ["ledger"]


def test_prompt_pages_that_the_cache_keeps_may_be_read_after_the_release(write_trace, run_json):
    """A prompt of whole blocks is the cache's when prefill lets go of it: nothing is lost."""
    hashes = np.arange(1, 11, dtype=np.uint64)
    trace = write_trace([TraceRequest("a", 0, 640, 5, block_hashes=hashes)], block_size=64)
    words = ("--profile", "hardened", *SMALL, "--defect", "source-freed-before-it-is-read")
    code, summary = run_json(trace, *words)
    assert (code, summary["verdict"]) == (0, "clean")
    assert summary["oracles"]["ledger"] == 0


def test_a_page_given_to_two_is_named_beside_the_gap_that_it_makes(ledger, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[[rule]]\nname = "twice"\nfault = "duplicate"\ndirection = "prefill"\n'
        'request_ids = ["a"]\n'
    )
    later = [TraceRequest(name, 200_000, 320, 5) for name in "bcd"]
    words = ("--plan", plan, "--defect", "second-acknowledgement-frees-again")
    summary, violations = ledger([*ONE, *later], *words)
    assert summary["verdict"] == "persistent"
    assert summary["direction"] == "over-free"
    assert violations["acquired_while_owned"] == summary["kinds"]["double-owned"] == 5
    assert violations["released_by_another"] >= 10


def test_one_buffer_written_by_a_stranger_is_one_wrong_token_and_no_more(ledger):
    """The ledger sees it written and the content oracle sees it read: it is one buffer."""
    requests = [
        TraceRequest("busy", 0, 64, 10),
        TraceRequest("a", 30_000, 640, 40, cancel_us=300_000),
        TraceRequest("r", 350_000, 64, 5),
    ]
    fields = ("decode_step_us=200000", "transfer_us_per_page=30000", "metadata_slots=1")
    words = [word for field in fields for word in ("--set", field)]
    summary, violations = ledger(requests, *words, "--defect", "metadata-slot-reused")
    assert violations["slots_written_by_another"] == 1
    assert summary["oracles"]["contents"] == 1
    assert summary["kinds"] == {"stale-write": 1}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A clean recording, to be told otherwise."""
    from replay.cli import run_command_line
    from traces.writer import TraceWriter

    folder = tmp_path_factory.mktemp("clean")
    with TraceWriter(folder / "t.parquet", source="test", block_size=None) as writer:
        for request in ONE:
            writer.write(request)
    out = folder / "recording"
    words = ["run", folder / "t.parquet", "--profile", "hardened", *SMALL, "--out", out]
    assert run_command_line([str(word) for word in words]) == 0
    return out


def test_a_recording_from_before_an_oracle_existed_can_still_be_judged(clean, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(clean, copy)
    run = json.loads((copy / "run.json").read_text())
    del run["oracles"]["ledger"]
    (copy / "run.json").write_text(json.dumps(run))
    summary = judge(Recording.open(copy)).summary
    assert summary["verdict"] == "clean"
    del summary["oracles"]["ledger"]
    assert objections(summary) == []


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_every_violation_of_a_recording_enters_its_verdict_and_its_kinds(
    clean, tmp_path, violation
):
    assert judge(Recording.open(clean)).summary["verdict"] == "clean"
    copy = tmp_path / "copy"
    shutil.copytree(clean, copy)
    run = json.loads((copy / "run.json").read_text())
    assert set(run["oracles"]["ledger"]) == set(VIOLATIONS)
    run["oracles"]["ledger"][violation] = 7
    (copy / "run.json").write_text(json.dumps(run))
    summary = judge(Recording.open(copy)).summary
    kind, told = VIOLATIONS[violation]
    assert summary["verdict"] == "persistent"
    assert "7 " in summary["why"]
    assert told in summary["why"]
    assert summary["oracles"]["ledger"] == 7
    # Pages released by another are over-freed, which is a gap and has its kind from there.
    assert summary["kinds"] == ({} if violation == "released_by_another" else {kind: 7})


@pytest.mark.parametrize(
    "profile",
    ["sglang-0.4.6.post3", "sglang-0.4.6.post4", "sglang-0.4.6.post5", "sglang-0.5.23",
     "vllm-0.33", "hardened"],
)  # fmt: skip
@pytest.mark.parametrize("page_size", [1, 64])
def test_clean_runs_have_no_violations(make_trace, run_json, profile, page_size):
    sizes = ("--set", f"page_size={page_size}", "--set", "total_tokens=32768",
             "--set", "prefill_total_tokens=32768")  # fmt: skip
    code, summary = run_json(
        make_trace(input_tokens_max=4_000, output_tokens_max=64), "--profile", profile, *sizes
    )
    assert (code, summary["verdict"]) == (0, "clean")
    assert summary["oracles"]["ledger"] == 0
    assert summary["kinds"] == {}


@pytest.mark.parametrize(
    "words", [("--drop", "0.2"), ("--delay", "0.3:4000"), ("--duplicate", "0.5")]
)
def test_faults_alone_make_no_violations_where_there_is_no_bug(make_trace, run_json, words):
    code, summary = run_json(make_trace(), "--profile", "hardened", *words, "--seed", "4")
    assert code == 0
    assert summary["faults"]["landed"] > 10
    assert summary["oracles"]["ledger"] == summary["oracles"]["contents"] == 0
