"""What a check says in the log is what the audits say, and it is said only when it would be."""

from __future__ import annotations

import re

import pytest
from logged_runs import SMALL, Logged, logged, logged_schedule

from faults.rule import FaultRule
from replay.run.session import SessionOptions
from traces.schema import TraceRequest

OLD = "token_to_kv_pool_allocator memory leak detected!"
NEW = "pool memory leak detected! [full]"
#: Four seconds of quiet before each cycle's requests.
LATE_US = 4_000_000


def few(count: int = 4, cancel_us: int | None = None) -> list[TraceRequest]:
    return [
        TraceRequest(f"q{each}", LATE_US + each * 300_000, 100, 60, cancel_us=cancel_us)
        for each in range(count)
    ]


def leaking(profile: str, **fields: object) -> Logged:
    """One transfer fails, and its pages are never released."""
    return logged(
        profile,
        few(),
        FaultRule("fail", "fail", probability=1.0, occurrences=frozenset({2})),
        defects=("failed-transfer-not-released",),
        options=SessionOptions(repeats=3),
        **(SMALL | fields),
    )


def fired(run: Logged) -> list[dict[str, int]]:
    return [row for row in run.audits if row["engine_check"] == "fired"]


def test_warnings_repeat_every_thousand_turns_with_the_numbers_of_the_audits() -> None:
    run = leaking("sglang-0.5.23", check_strictness="warn", poll_interval_us=1_000)
    lines = run.lines("decode0", NEW)
    rows = fired(run)
    assert len(rows) >= 3
    # Three stretches of four quiet seconds and half a minute at the end, one warning a second.
    assert 3 * 3 + 29 <= len(lines) <= 3 * 5 + 31
    said = {re.search(r"\[full\] (.*)", line)[1] for line in lines}
    audited = {
        f"total={SMALL['total_tokens']}, available={row['available']}, "
        f"evictable={row['evictable']}, protected={row['protected']}, session_held=0, uncached=0"
        for row in rows
    }
    assert said == audited
    assert run.lines("decode0", "req_to_token_pool memory leak detected!available_size=")


def test_python_prints_one_warning_once_and_without_a_rank() -> None:
    run = leaking("sglang-0.4.6.post3")
    told = [text for text in run.logs["decode0"] if OLD in text]
    assert len(fired(run)) >= 3
    assert len(told) == 1
    row = fired(run)[0]
    assert "UserWarning: " in told[0]
    assert not told[0].startswith("[")
    assert f"available_size={row['available']}, protected_size=0" in told[0]
    assert f"self.tree_cache.evictable_size()={row['evictable']}" in told[0]


@pytest.mark.parametrize("profile", ["sglang-0.4.6.post5", "sglang-0.5.23"])
def test_a_failed_check_ends_the_log_of_its_server_only(profile: str) -> None:
    run = leaking(profile)
    log, row = run.logs["decode0"], fired(run)[0]
    assert log[-1].endswith("It usually means the child failed.")
    assert f"available{'_size' if '0.4' in profile else ''}={row['available']}" in log[-2]
    assert "Scheduler hit an exception: Traceback" in log[-2]
    assert "ValueError: " in log[-2]
    # One cycle of the four, and the other server's log has all of them.
    assert len(run.lines("prefill0", "Prefill batch")) == 16
    assert len(run.lines("decode0", "Decode batch")) < 8


def test_a_gate_hides_the_check_of_a_lost_completion() -> None:
    run = logged(
        "sglang-0.4.6.post3",
        few(),
        FaultRule("drop", "drop", probability=1.0, occurrences=frozenset({2})),
        options=SessionOptions(repeats=3),
        **SMALL,
    )
    assert run.summary["verdict"] == "persistent"
    assert not run.lines("decode0", "leak")
    # What can be seen are its pages: one request runs, and the pool holds those of two.
    last = run.lines("decode0", "Decode batch")[-1]
    assert "#running-req: 1" in last
    assert int(re.search(r"#token: (\d+)", last)[1]) > 2 * 100


def test_all_tp_ranks_of_a_rank_warn_alike() -> None:
    run = leaking("sglang-0.5.23", check_strictness="warn", decode_tp=4, decode_dp=2, prefill_tp=2)
    by_tag: dict[str, list[str]] = {}
    for line in run.lines("decode0", NEW):
        tag = re.match(r"\[\S+ \S+ (DP\d TP\d)\]", line)[1]
        by_tag.setdefault(tag, []).append(re.sub(r"TP\d", "", line))
    assert set(by_tag) in ({"DP0 TP0", "DP0 TP1"}, {"DP1 TP2", "DP1 TP3"})
    one, other = by_tag.values()
    assert one == other


@pytest.mark.parametrize("seed", range(8))
def test_random_schedules_say_nothing_that_no_audit_says(seed: int) -> None:
    profile = ("sglang-0.5.23", "sglang-0.4.6.post3")[seed % 2]
    run = logged_schedule(seed, profile, check_strictness="warn", total_tokens=64 * 64)
    checks: dict[str, set[tuple[int, int]]] = {}
    for row in fired(run):
        server = row["pool"].split("/")[0]
        checks.setdefault(server, set()).add((row["available"], row["evictable"]))
    for server, log in run.logs.items():
        said = set()
        for text in log:
            found = re.search(r"available=(-?\d+), evictable=(-?\d+)", text)
            found = found or re.search(r"available_size\(\)=(-?\d+)\n.*=(-?\d+)", text)
            if found:
                said.add((int(found[1]), int(found[2])))
        totals = {pool["total_tokens"] for pool in run.run["pools"]}
        leaks = {pair for pair in checks.get(server, set()) if sum(pair) not in totals}
        assert said == leaks


@pytest.mark.parametrize("seed", range(8))
def test_lines_come_in_order_and_end_with_a_death(seed: int) -> None:
    run = logged_schedule(seed, ("sglang-0.4.6.post4", "vllm-0.33")[seed % 2])
    for log in run.logs.values():
        times = [found[1] for text in log if (found := re.search(r"(\d\d:\d\d:\d\d)", text))]
        assert times == sorted(times)
        deaths = [at for at, text in enumerate(log) if "Traceback" in text]
        width = len(log[deaths[0] :]) if deaths else 0
        assert width <= 5


def test_an_id_with_braces_is_logged_as_it_is() -> None:
    requests = [TraceRequest("{q}{0}", LATE_US, 100, 60)]
    fields = SMALL | {"prefill_tp": 2, "failed_transfer": "leak"}
    run = logged(
        "sglang-0.4.6.post5", requests, FaultRule("fail", "fail", direction="prefill"), **fields
    )
    told = run.lines("prefill0", "Prefill transfer failed")
    assert len(told) == 2
    for rank, line in enumerate(told):
        assert f"rank={rank} req.rid='{{q}}{{0}}' req.bootstrap_room=" in line
        assert line.endswith("with exception Fake KVSender Exception")
