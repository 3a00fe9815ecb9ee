"""Status lines: pools as they were at that very step, queues as they were, at the engines' pace."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from logged_runs import SMALL, logged, logged_schedule

from faults.rule import FaultRule
from replay.cli import run_command_line
from replay.diagnosis.diagnose import diagnose
from replay.diagnosis.reading.sources import open_logs
from replay.run.session import SessionOptions
from traces.schema import TraceRequest


def decodes(log: list[str]) -> list[tuple[str, int, int]]:
    """Time and tag, running requests and tokens of each decode line."""
    found = (
        re.match(r"\[(.*?)\] Decode batch\S #running-req: (\d+), #token: (\d+)", text)
        for text in log
    )
    return [(each[1], int(each[2]), int(each[3])) for each in found if each]


@pytest.mark.parametrize("seed", range(10))
def test_a_line_within_a_leap_is_that_of_single_steps(seed: int) -> None:
    # Wide pools: nobody is retracted, which no recording tells.
    wide = {"total_tokens": 64 * 4096, "prefill_total_tokens": 64 * 4096}
    leaping = logged_schedule(seed, "hardened", **wide)
    stepping = logged_schedule(seed, "hardened", every_step=True, **wide)
    for server in ("prefill0", "decode0"):
        assert decodes(leaping.logs[server]) == decodes(stepping.logs[server])
    audited = Counter(
        total - row["available"] - row["evictable"]
        for row in stepping.audits
        for total in [wide["total_tokens"]]
    )
    for _, _, tokens in decodes(stepping.logs["decode0"]):
        assert tokens in audited or tokens <= wide["total_tokens"]


def test_every_fortieth_decode_is_told_with_its_pages() -> None:
    requests = [TraceRequest("q0", 0, 104, 200), TraceRequest("q1", 0, 24, 200)]
    run = logged("sglang-0.5.23", requests, **SMALL)
    told = [(running, tokens) for _, running, tokens in decodes(run.logs["decode0"])]
    # 144 tokens take 9 pages of 16, 64 take 4, and one more would take another; then 40 more each.
    expected = [
        (2, 16 * (-(-(104 + step) // 16) + -(-(24 + step) // 16))) for step in range(40, 201, 40)
    ]
    assert told == expected


def test_stuck_transfers_show_in_the_queues_of_0_5() -> None:
    requests = [TraceRequest(f"q{each}", each * 100_000, 100, 100) for each in range(4)]
    rule = FaultRule("drop", "drop", occurrences=frozenset({2}))
    run = logged("sglang-0.5.23", requests, rule, options=SessionOptions(repeats=1), **SMALL)
    last = run.lines("decode0", "Decode batch")[-1]
    assert "#transfer-req: 1," in last
    assert "pre-allocated usage: 0.00, #prealloc-req: 0" in last
    assert "#inflight-req: 0" in run.lines("prefill0", "Prefill batch")[-1]


def test_a_prefill_batch_shows_the_pool_before_its_own_pages() -> None:
    # Each prompt fills a quarter of the pool and stays cached; cached pages are not used ones.
    requests = [TraceRequest(f"q{each}", each * 10_000_000, 1_024, 10) for each in range(3)]
    fields = SMALL | {"prefill_total_tokens": 4_096}
    healthy = logged("sglang-0.5.23", requests, **fields)
    usages = re.findall(r"token usage: (\S+),", "\n".join(healthy.lines("prefill0", "Prefill")))
    assert usages == ["0.00"] * 3
    rule = FaultRule("drop", "drop", direction="prefill", occurrences=frozenset({1}))
    held = logged("sglang-0.5.23", requests, rule, **fields)
    usages = re.findall(r"token usage: (\S+),", "\n".join(held.lines("prefill0", "Prefill")))
    assert usages == ["0.00", "0.25", "0.25"]
    assert "#inflight-req: 1," in held.lines("prefill0", "Prefill batch")[-1]


def test_chunks_of_a_long_prompt_are_batches() -> None:
    run = logged(
        "sglang-0.5.23", [TraceRequest("q0", 0, 250, 10)], **SMALL, chunked_prefill_tokens=100
    )
    tokens = re.findall(r"#new-token: (\d+)", "\n".join(run.logs["prefill0"]))
    assert tokens == ["100", "100", "50"]


def vllm_lines(log: list[str]) -> list[tuple[str, int, int, float]]:
    """Time of the day, running, waiting and usage of each line of statistics."""
    found = (
        re.search(
            r"06-01 (\S+) .*Running: (\d+) reqs, Waiting: (\d+) reqs, .*cache usage: (\S+)%", text
        )
        for text in log
    )
    return [(each[1], int(each[2]), int(each[3]), float(each[4])) for each in found if each]


def test_vllm_is_silent_when_idle() -> None:
    requests = [TraceRequest("q0", 1_000_000, 100, 100), TraceRequest("q1", 95_000_000, 100, 500)]
    run = logged("vllm-0.33", requests, **SMALL)
    told = vllm_lines(run.logs["decode0"])
    # Each with the interval after the last token, and nothing in between.
    assert [time for time, *_ in told] == [
        *("00:00:10", "00:00:20"),
        *("00:01:40", "00:01:50", "00:02:00"),
    ]
    assert [usage for *_, usage in told[:2]] == [0.0, 0.0]
    assert told[2][1:3] == (1, 0)
    assert told[2][3] > 0


def test_lost_blocks_and_who_waits_for_them_show_in_vllm() -> None:
    requests = [TraceRequest(f"q{each}", each * 6_000_000, 1_000, 100) for each in range(5)]
    rule = FaultRule("drop", "drop", occurrences=frozenset({2}))
    run = logged("vllm-0.33", requests, rule, **(SMALL | {"total_tokens": 16_000}))
    _, running, waiting, usage = vllm_lines(run.logs["decode0"])[-1]
    assert (running, waiting) == (0, 1)
    assert usage == pytest.approx(100 * 1_008 / 16_000, abs=0.06)
    assert (
        "Deferred: 1 reqs, KV fetch: 0 waiting to start, 1 in progress" in (run.logs["decode0"][-1])
    )


def test_the_command_writes_the_same_logs_again_and_changes_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = str(tmp_path / "t.parquet")
    run_command_line(["trace", "synth", "-o", trace, "--requests", "20", "--turns", "1"])
    run = ["run", trace, "--profile", "sglang-0.5.23", "--drop", "0.2", "--json"]
    run += ["--set", "decode_dp=2", "--set", "decode_tp=2", "--set", "decode_instances=2"]

    def summary(*options: str) -> dict[str, object]:
        capsys.readouterr()
        run_command_line([*run, *options])
        return json.loads(capsys.readouterr().out)

    plain, logs = summary(), []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        told = summary("--engine-log", str(tmp_path / name / "serve.{server}.log"))
        assert told["recording_sha256"] == plain["recording_sha256"]
        logs.append({each.name: each.read_bytes() for each in (tmp_path / name).iterdir()})
    assert set(logs[0]) == {"serve.prefill0.log", "serve.decode0.log", "serve.decode1.log"}
    assert logs[0] == logs[1]
    assert all(logs[0].values())


def test_in_one_log_every_line_has_its_server_in_front_and_the_verdicts_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = str(tmp_path / "t.parquet")
    run_command_line(["trace", "synth", "-o", trace, "--requests", "40", "--turns", "1"])
    run = ["run", trace, "--profile", "sglang-0.4.6.post4", "--defect", "abort-in-waiting-leaks"]
    run += ["--plan", "builtin:abort-while-waiting", "--set", "max_running_requests=1"]
    run += ["--set", "decode_dp=2", "--set", "decode_tp=2", "--repeat", "2"]
    one, apart = tmp_path / "one.log", tmp_path / "apart.{server}.log"
    for log in (one, apart):
        run_command_line([*run, "--engine-log", str(log)])
    lines = one.read_text().splitlines()
    for name in ("prefill0", "decode0"):
        prefix = f"[pod/{name}/engine] "
        mine = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        assert mine == (tmp_path / f"apart.{name}.log").read_text().splitlines()
    assert "memory leak detected!" in one.read_text()
    names = [str(tmp_path / f"apart.{name}.log") for name in ("prefill0", "decode0")]
    found = [diagnose(open_logs(logs)) for logs in ([str(one)], names)]
    for each in found:
        assert each.observations
    told = [
        sorted(
            (series.rank, series.pool, series.assessment.verdict, series.assessment.gap_tokens)
            for series in each.series
        )
        for each in found
    ]
    assert told[0] == told[1]


def test_a_place_that_cannot_be_written_is_said_before_the_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, log = str(tmp_path / "t.parquet"), str(tmp_path / "no" / "s.log")
    run_command_line(["trace", "synth", "-o", trace, "--requests", "2"])
    capsys.readouterr()
    assert run_command_line(["run", trace, "--profile", "hardened", "--engine-log", log]) == 2
    assert f"there is no directory {tmp_path / 'no'}" in capsys.readouterr().err
