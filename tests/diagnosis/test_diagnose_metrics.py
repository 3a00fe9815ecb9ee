"""`diagnose --prometheus`: scrapes one after the other, and the answer of a range query."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from replay.cli import run_command_line
from replay.diagnosis.reading.log_reader import ReadingTally
from replay.diagnosis.reading.metrics import read_metrics

START_S = 1_760_000_000
SGLANG = 'model_name="m",engine_type="decode",tp_rank="0",pp_rank="0"'


def sglang_scrape(used: int, running: int, transfers: int = 0, at_ms: int | None = None) -> str:
    time = "" if at_ms is None else f" {at_ms}"
    values = {
        "token_usage": used / 4096,
        "num_used_tokens": used,
        "num_running_reqs": running,
        "num_queue_reqs": 0,
        "num_decode_transfer_queue_reqs": transfers,
        "num_decode_prealloc_queue_reqs": 0,
        "max_total_num_tokens": 4096,
    }
    lines = [f"sglang:{name}{{{SGLANG}}} {float(value)}{time}" for name, value in values.items()]
    return "# HELP sglang:token_usage The token usage.\n" + "\n".join(lines) + "\n"


def vllm_scrape(usage: float, running: int, waiting: int, engine: int = 0) -> str:
    labels = f'engine="{engine}",model_name="m \\"x\\" {{}}"'
    return (
        f"vllm:kv_cache_usage_perc{{{labels}}} {usage}\n"
        f"vllm:num_requests_running{{{labels}}} {running}\n"
        f"vllm:num_requests_waiting{{{labels}}} {waiting}\n"
        f'vllm:num_requests_waiting_by_reason{{{labels},reason="deferred"}} {waiting}\n'
    )


@pytest.fixture
def verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], dict]:
    def diagnose(text: str) -> dict:
        path = tmp_path / "metrics.txt"
        path.write_text(text)
        run_command_line(["diagnose", "--prometheus", str(path), "--json"])
        return json.loads(capsys.readouterr().out)

    return diagnose


def test_tokens_in_use_with_nothing_running_are_lost(verdict: Callable[[str], dict]) -> None:
    scrapes = [sglang_scrape(900, 3, 0, 0)]
    scrapes += [sglang_scrape(256, 0, 0, 30_000 * n) for n in range(1, 5)]
    found = verdict("".join(scrapes))
    assert (found["verdict"], found["direction"], found["growth"]) == (
        "persistent",
        "leak",
        "one-off",
    )
    assert (found["engine"], found["gap"]) == ("sglang", 256)
    assert found["reproduce"] == ("kvreplay reproduce --available 3840 --total 4096 --page-size 64")
    assert verdict("".join([*scrapes, sglang_scrape(0, 0, 0, 300_000)]))["verdict"] == "transient"


def test_scrapes_without_times_count_one_by_one_with_work_between(
    verdict: Callable[[str], dict],
) -> None:
    cycles = [sglang_scrape(900 + gap, 3) + sglang_scrape(gap, 0) for gap in (64, 128, 192)]
    found = verdict("".join(cycles))
    assert (found["verdict"], found["growth"]) == ("persistent", "growing")


def test_equal_scrapes_are_different_moments(verdict: Callable[[str], dict]) -> None:
    assert verdict(sglang_scrape(256, 0) * 3)["verdict"] == "persistent"
    assert verdict(sglang_scrape(256, 0))["verdict"] == "inconclusive"


def test_a_transfer_that_never_falls_is_a_silent_hang(verdict: Callable[[str], dict]) -> None:
    found = verdict("".join(sglang_scrape(640, 0, 1, 30_000 * n) for n in range(1, 6)))
    assert (found["verdict"], found["kind"], found["direction"]) == ("persistent", "hang", "none")


def test_every_engine_of_a_server_has_its_series(verdict: Callable[[str], dict]) -> None:
    scrape = vllm_scrape(0.3, 4, 0, 0) + vllm_scrape(0.0, 0, 0, 1)
    idle = vllm_scrape(0.0, 0, 0, 0) + vllm_scrape(0.0, 0, 0, 1)
    found = verdict(scrape + idle)
    assert found["verdict"] == "clean"
    assert [each["rank"] for each in found["series"]] == ["engine 0", "engine 1"]


def test_a_range_query_reads_as_the_scrapes_do(tmp_path: Path) -> None:
    values = {"kv_cache_usage_perc": (0.3, 0.1), "num_requests_running": (4, 0)}
    result = [
        {
            "metric": {"__name__": f"vllm:{name}", "engine": "0"},
            "values": [[START_S + 15 * n, str(value)] for n, value in enumerate(row)],
        }
        for name, row in values.items()
    ]
    answer = tmp_path / "range.json"
    answer.write_text(json.dumps({"status": "success", "data": {"result": result}}))
    text = tmp_path / "scrapes.txt"
    text.write_text(
        "".join(
            f'vllm:{name}{{engine="0"}} {row[n]} {(START_S + 15 * n) * 1000}\n'
            for n in range(2)
            for name, row in values.items()
        )
    )

    def loads(path: Path) -> list[tuple]:
        found = read_metrics(str(path), ReadingTally())
        return [(each.place.time_s, each.place.rank, each.usage, each.running) for each in found]

    assert (
        loads(answer)
        == loads(text)
        == [
            (START_S, "engine 0", 0.3, 4),
            (START_S + 15, "engine 0", 0.1, 0),
        ]
    )


def test_requests_of_one_priority_are_a_part_of_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.txt"
    path.write_text(
        'sglang:token_usage{priority=""} 0.5\n'
        'sglang:num_running_reqs{priority=""} 5\n'
        'sglang:num_running_reqs{priority="1"} 2\n'
        "sglang:num_queue_reqs NaN\nnonsense{ 4\n"
    )
    (only,) = read_metrics(str(path), ReadingTally())
    assert (only.running, only.usage, only.queued) == (5, 0.5, None)


def test_metrics_without_a_known_gauge_say_so(verdict: Callable[[str], dict]) -> None:
    found = verdict("python_gc_objects_collected_total 5.0\n\x00\xff\n")
    assert (found["verdict"], found["engine"]) == ("inconclusive", "unknown")


def test_a_scrape_without_a_known_gauge_is_told_which_are_read(
    verdict: Callable[[str], dict],
) -> None:
    assert "sglang:num_used_tokens" in " ".join(verdict("process_open_fds 7\n")["next"])
