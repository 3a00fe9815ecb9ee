"""The contract of `kvreplay run`: exit codes, summary, phases, and what it costs to ask for help."""

import itertools
import json
import shlex
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from traces.schema import TraceRequest

PERSISTENT = ("--profile", "sglang-0.4.6.post4", "--drop", "0.1", "--seed", "2")
TRANSIENT = ("--profile", "sglang-0.4.6.post4", "--delay", "0.1:900", "--seed", "1")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--profile", "hardened"), 0),
        (("--profile", "hardened", "--expect", "clean"), 0),
        (("--profile", "hardened", "--expect", "persistent"), 1),
        (TRANSIENT, 0),
        ((*TRANSIENT, "--expect", "clean"), 1),
        (PERSISTENT, 1),
        ((*PERSISTENT, "--expect", "persistent"), 0),
        ((*PERSISTENT, "--expect", "transient"), 1),
        # A rule that never fired proves nothing, whatever the verdict would have been.
        (("--profile", "hardened", "--drop", "0"), 3),
        # The late event comes only after the budget for healing.
        (("--profile", "sglang-0.4.6.post4", "--delay", "0.1:900000", "--heal-budget", "1"), 3),
    ],
)
def test_exit_codes(make_trace, kvreplay, words, code):
    found, out, err = kvreplay("run", make_trace(), *words)
    assert found == code, (out, err)


def test_every_bad_verdict_prints_a_line_that_repeats_it(make_trace, kvreplay, tmp_path):
    trace = make_trace("with space.parquet")
    _, first, err = kvreplay("run", trace, *PERSISTENT, "--set", "page_size=16", "--json")
    line = next(line for line in err.splitlines() if line.startswith("reproduce: "))
    words = shlex.split(line.removeprefix("reproduce: "))
    assert words[0] == "kvreplay"
    _, again, _ = kvreplay(*words[1:], "--json")
    first, again = json.loads(first), json.loads(again)
    del first["timing"], again["timing"]
    assert first == again


def test_summary_has_the_keys_of_its_schema(make_trace, run_json):
    _, summary = run_json(make_trace(), *PERSISTENT)
    assert summary["schema"] == "kvreplay.summary/1"
    assert set(summary) >= {
        "verdict", "growth", "kinds", "mismatch", "engine_message", "engine_check_fired",
        "engine_died_us", "episodes", "faults", "requests", "audits", "timing",
    }  # fmt: skip
    assert set(summary["mismatch"]) >= {
        "pool", "available", "evictable", "protected", "total", "gap", "page_size", "pages",
    }  # fmt: skip
    assert summary["faults"] == {
        "planned": summary["faults"]["planned"],
        "landed": summary["faults"]["planned"],
        "observed": summary["faults"]["planned"],
        "never_fired": 0,
        "without_effect": 0,
        "rules_never_fired": [],
        "rules_without_effect": [],
    }
    assert set(summary["timing"]) >= {"replay_s", "requests_per_s"}


def abort_in_waiting_queue():
    """One request decodes; a second, its KV in place, waits for room and is aborted there."""
    return [
        TraceRequest("runs", 0, 100, 400),
        TraceRequest("waits", 1_000, 100, 400, cancel_us=3_000_000),
    ]


SMALL = [
    word
    for pair in (
        "total_tokens=4096", "prefill_total_tokens=4096", "page_size=1", "prefill_tp=1",
        "decode_tp=1", "decode_dp=1", "max_running_requests=1",
    )
    for word in ("--set", pair)
]  # fmt: skip


def test_abort_of_a_waiting_request_leaks_and_kills_post4(write_trace, run_json):
    trace = write_trace(abort_in_waiting_queue())
    code, summary = run_json(trace, "--profile", "sglang-0.4.6.post4", *SMALL)
    assert (code, summary["verdict"]) == (1, "persistent")
    assert summary["kinds"] == {"orphaned": 100}
    assert summary["mismatch"]["available"] == 3996
    assert summary["engine_check_fired"]
    assert summary["engine_died_us"] > 3_000_000
    assert summary["engine_died_message"].startswith(
        "token_to_kv_pool_allocator memory leak detected! available_size=3996, protected_size=0, "
        "self.max_total_num_tokens=4096\n"
    )
    assert summary["requests"] == {
        "total": 2, "finished": 1, "aborted": 1, "failed": 0, "stuck": 0,
    }  # fmt: skip


def test_the_same_abort_is_harmless_in_later_versions(write_trace, run_json):
    trace = write_trace(abort_in_waiting_queue())
    for profile in ("sglang-0.5.23", "hardened"):
        code, summary = run_json(trace, "--profile", profile, *SMALL)
        assert (code, summary["verdict"]) == (0, "clean")
        assert summary["requests"]["aborted"] == 1


def test_stop_on_engine_error_stops_there(write_trace, run_json):
    requests = [*abort_in_waiting_queue(), TraceRequest("later", 60_000_000, 10, 10)]
    trace = write_trace(requests)
    words = ("--profile", "sglang-0.4.6.post4", *SMALL)
    _, whole = run_json(trace, *words)
    _, stopped = run_json(trace, *words, "--stop-on-engine-error")
    assert whole["requests"]["total"] == 3
    assert stopped["requests"]["total"] == 2
    assert stopped["virtual_us"] == stopped["engine_died_us"] == whole["engine_died_us"]
    assert stopped["verdict"] == "persistent"


def test_growth_needs_three_clean_cycles_and_tells_one_off_from_growing(
    write_trace, make_trace, run_json
):
    aborts = write_trace(abort_in_waiting_queue())
    words = ("--profile", "sglang-0.4.6.post4", *SMALL)
    assert run_json(aborts, *words)[1]["growth"] == "unknown"
    assert run_json(aborts, *words, "--repeat", "3")[1]["growth"] == "growing"
    lost = run_json(make_trace(requests=40), *PERSISTENT, "--repeat", "3")[1]
    assert (lost["growth"], lost["verdict"]) == ("one-off", "persistent")
    assert run_json(make_trace(requests=40), *TRANSIENT, "--repeat", "3")[1]["growth"] is None


def test_phases_follow_each_other(make_trace, run_json, tmp_path):
    run_json(make_trace(), *TRANSIENT, "--repeat", "2", "--out", tmp_path / "r")
    phases = json.loads((tmp_path / "r" / "run.json").read_text())["phases"]
    assert [phase["phase"] for phase in phases] == ["inject", "heal", "repeat-1", "repeat-2"]
    for before, after in itertools.pairwise(phases):
        assert before["end_us"] == after["start_us"]
    audits = pq.read_table(tmp_path / "r" / "audits.parquet").to_pylist()
    assert [row["audit"] for row in audits] == list(range(len(audits)))
    assert [row["time_us"] for row in audits] == sorted(row["time_us"] for row in audits)


def test_help_is_quick_and_imports_nothing_heavy():
    program = (
        "import sys, replay.cli; code = replay.cli.run_command_line(['--help']); "
        "heavy = {'torch', 'polars', 'pyarrow', 'numpy', 'vl_convert', 'pydantic', 'rich', 'faker'}; "
        "print(sorted(heavy & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "[]"
    assert "reproduce" in done.stdout
